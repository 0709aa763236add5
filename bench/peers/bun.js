// The peer to beat: Bun.serve with its native publish (uWebSockets inside), compression off, nothing logged.
// PORT in the environment. /sub/TOPIC follows a topic, what comes on /pub/TOPIC is published to it. The topic
// GROUP/all:N stands for GROUP/0 to GROUP/N-1.
const followed = (topic) => {
  const [, group, count] = topic.match(/^(.*)\/all:(\d+)$/) ?? [];
  return count ? Array.from({ length: Number(count) }, (_, number) => `${group}/${number}`) : [topic];
};

const server = Bun.serve({
  port: Number(process.env.PORT),
  hostname: "127.0.0.1",
  fetch(request, server) {
    const [, role, topic] = new URL(request.url).pathname.match(/^\/(sub|pub)\/(.+)$/) ?? [];
    const upgraded = role && server.upgrade(request, { data: { role, topic } });
    return upgraded ? undefined : new Response("not here", { status: 404 });
  },
  websocket: {
    perMessageDeflate: false,
    idleTimeout: 0,
    maxPayloadLength: 1 << 24,
    backpressureLimit: 1 << 30,
    open(socket) {
      if (socket.data.role === "sub") for (const topic of followed(socket.data.topic)) socket.subscribe(topic);
    },
    message(socket, message) {
      server.publish(socket.data.topic, message);
    },
  },
});
