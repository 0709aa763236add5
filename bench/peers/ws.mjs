// A peer: the `ws` package on Node. PORT in the environment. /sub follows the one topic, what comes on /pub is sent to
// all who do.
import { WebSocketServer } from "ws";

const subscribers = new Set();
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.env.PORT), perMessageDeflate: false });
server.on("connection", (socket, request) => {
  if (request.url === "/sub") {
    subscribers.add(socket);
    socket.on("close", () => subscribers.delete(socket));
  }
  socket.on("message", (message) => {
    for (const subscriber of subscribers) subscriber.send(message);
  });
});
