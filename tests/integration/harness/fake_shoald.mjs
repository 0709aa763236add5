#!/usr/bin/env node
/*
 * fake_shoald: stands in for the broker where harness_test.mjs shows that the harness judges well. It serves nothing.
 * FAKE in the environment says what is wrong with it.
 */
const log = (event, more) => console.error(JSON.stringify({ time: '', level: 'info', event, ...more }));
const fault = process.env.FAKE;
const left = { connections: 0, handshakes: 0, sessions: 0, subscriptions: 0, cursors: 0, tickets: 0, chunks: 0 };

process.on('SIGTERM', () => {
    if (fault in left) left[fault] = 1;
    if (fault === 'sanitizer') console.error('==1==ERROR: AddressSanitizer: heap-use-after-free on address 0x1');
    if (fault === 'assertion') console.error('shoald: broker/topic/feed.c:7: CHECK failed: place < size');
    if (fault === 'mute') process.exit(0);
    if (fault === 'killed') process.kill(process.pid, 'SIGABRT');
    log('stopped', left);
    process.exit(fault === 'status' ? 1 : 0);
});

if (fault === 'early') process.exit(1);
log('ready', { data: '127.0.0.1:1', admin: '127.0.0.1:2' });
setInterval(() => {}, 1000);
