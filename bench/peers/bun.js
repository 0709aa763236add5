// The peer to beat: Bun.serve with its native publish (uWebSockets inside), compression off, nothing logged.
// PORT in the environment. /sub follows the one topic, what comes on /pub is published to it.
const server = Bun.serve({
  port: Number(process.env.PORT),
  hostname: "127.0.0.1",
  fetch(request, server) {
    const role = new URL(request.url).pathname;
    return server.upgrade(request, { data: { role } }) ? undefined : new Response("not here", { status: 404 });
  },
  websocket: {
    perMessageDeflate: false,
    idleTimeout: 0,
    backpressureLimit: 1 << 30,
    open(socket) {
      if (socket.data.role === "/sub") socket.subscribe("topic");
    },
    message(socket, message) {
      server.publish("topic", message);
    },
  },
});
