/*
 * tokens: JSON Web Tokens made on the spot, good and bad ones, and the key files to verify them with.
 */
import { createHmac, createSign, generateKeyPairSync, randomBytes } from 'node:crypto';

const base64url = (value) =>
    Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

export const secondsFromNow = (seconds) => Math.floor(Date.now() / 1000) + seconds;

export const newSecret = () => randomBytes(32).toString('hex');

export function newRsaKeys() {
    return generateKeyPairSync('rsa', {
        modulusLength: 2048,
        publicKeyEncoding: { type: 'spki', format: 'pem' },
        privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    });
}

export function hs256(secret, claims) {
    const signed = `${base64url({ alg: 'HS256', typ: 'JWT' })}.${base64url(claims)}`;
    return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

export function rs256(private_key, claims) {
    const signed = `${base64url({ alg: 'RS256', typ: 'JWT' })}.${base64url(claims)}`;
    return `${signed}.${createSign('RSA-SHA256').update(signed).sign(private_key, 'base64url')}`;
}

export function unsigned(claims) {
    return `${base64url({ alg: 'none', typ: 'JWT' })}.${base64url(claims)}.`;
}

/* Claims of somebody who may do this. */
export const mayDo = ({ pub = [], sub = [], ...rest }) => ({ sub: 'tester', shoal: { pub, sub }, ...rest });
