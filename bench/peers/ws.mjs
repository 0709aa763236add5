// A peer: the `ws` package on Node. PORT in the environment. /sub/TOPIC follows a topic, what comes on /pub/TOPIC is
// sent to all who do. The topic GROUP/all:N stands for GROUP/0 to GROUP/N-1.
import { WebSocketServer } from "ws";

const topics = new Map();
const subscribersOf = (topic) => topics.get(topic) ?? topics.set(topic, new Set()).get(topic);
const followed = (topic) => {
  const [, group, count] = topic.match(/^(.*)\/all:(\d+)$/) ?? [];
  return count ? Array.from({ length: Number(count) }, (_, number) => `${group}/${number}`) : [topic];
};

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.env.PORT),
  backlog: 4096,
  maxPayload: 1 << 24,
  perMessageDeflate: false,
});
server.on("connection", (socket, request) => {
  const [, role, topic] = request.url.match(/^\/(sub|pub)\/(.+)$/) ?? [];
  if (role === "sub") {
    const sets = followed(topic).map(subscribersOf);
    for (const set of sets) set.add(socket);
    socket.on("close", () => sets.forEach((set) => set.delete(socket)));
    return;
  }
  const subscribers = subscribersOf(topic);
  socket.on("message", (message, binary) => {
    for (const subscriber of subscribers) subscriber.send(message, { binary });
  });
});
