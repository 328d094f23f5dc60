// npm realtime-pubsub-client is cut off in the middle of a stream. It knows no positions, but its
// deserializer sees them and its socket takes any command: whoever subscribes with the last one in
// session.started gets all it missed.
import pubsub from "realtime-pubsub-client";
import { WebSocket } from "ws";
import { APPLICATION, Sequence, survivesCuts } from "./cut.mjs";
import { main, within } from "./support.mjs";

const RECONNECT = { minReconnectionDelay: 50, maxReconnectionDelay: 200 };

async function receive(host, topic) {
  const sequence = new Sequence();
  let position;
  const client = new pubsub.RealtimeClient({
    websocketOptions: {
      urlProvider: () => `ws://${host}/apps/${APPLICATION}?positions=1`,
      messageDeserializer: (text) => {
        const message = JSON.parse(text);
        // A welcome's position says where the topic stands; what was missed is still to come.
        const isFirst = message.messageType === "welcome" && position === undefined;
        if (message.topic === topic && (isFirst || message.messageType === "broadcast")) {
          position = message.position;
        }
        return message;
      },
      WebSocket,
      ...RECONNECT,
    },
  });
  client.on("error", () => {});
  client.on("session.started", () => {
    client.ws.send(JSON.stringify({ type: "subscribe", data: { topic, position } }));
  });
  client.on(`${topic}.broadcast`, ({ data }) => sequence.push(data));
  client.on("priv/session.lost", ({ data }) => sequence.fail(JSON.stringify(data)));
  const returned = [];
  const welcomed = new Promise((done) => {
    client.on(`${topic}.welcome`, ({ data }) => {
      if (data.recovery === undefined) return done();
      returned.push(data.recovery);
      if (!data.recovery.recovered) sequence.fail(JSON.stringify(data.recovery));
    });
  });
  await client.connect();
  await within(`${topic}.welcome`, welcomed);
  return {
    reach: (count) => sequence.reach(count),
    get messages() {
      return returned.reduce((sum, { count }) => sum + count, 0);
    },
  };
}

await main(async () => {
  let receiver;
  await survivesCuts("realtime", async (host, topic) => (receiver = await receive(host, topic)));
  if (receiver.messages === 0) throw new Error("nothing was missed, so nothing was proven");
});
