// npm realtime-pubsub-client: session, echo, ack, RPC, compressed messages, reconnect.
import { strict as assert } from "node:assert";
import pubsub from "realtime-pubsub-client";
import { WebSocket } from "ws";
import { ask, main, Queue, within, wsUrl } from "./support.mjs";

const RECONNECT = { minReconnectionDelay: 50, maxReconnectionDelay: 500 };

function client() {
  const made = new pubsub.RealtimeClient({
    websocketOptions: { urlProvider: () => `${wsUrl}/apps/demo`, WebSocket, ...RECONNECT },
  });
  made.sessions = new Queue();
  made.on("session.started", (connection) => made.sessions.push(connection));
  // Without a listener the emitter throws; a lost connection shows as a missing session.
  made.on("error", (error) => console.log("client error:", error.message));
  return made;
}

async function connected() {
  const made = client();
  await made.connect();
  made.connection = await made.sessions.take("session.started");
  return made;
}

async function subscribed(made, topic) {
  const welcome = within(`${topic}.welcome`, new Promise((done) => made.once(`${topic}.welcome`, done)));
  made.subscribeRemoteTopic(topic);
  await welcome;
}

function collect(made, event) {
  const queue = new Queue();
  made.on(event, (message, reply) => queue.push({ message, reply }));
  return queue;
}

async function echoes(a, b) {
  const own = collect(a, "chat.greeting"), others = collect(b, "chat.greeting");
  await a.publish("chat", { text: "grüße", n: 1 }, { messageType: "greeting", id: "m1" }).waitForAck();
  for (const queue of [own, others]) {
    const { message } = await queue.take("the greeting");
    assert.deepEqual(message, {
      topic: "chat",
      messageType: "greeting",
      compression: false,
      data: {
        client: message.data.client,
        payload: { text: "grüße", n: 1 },
        id: "m1",
      },
    });
    assert.equal(message.data.client.connectionId, a.connection.id);
    assert.equal(typeof message.data.client.subject, "string");
    assert(Array.isArray(message.data.client.permissions));
  }
  const plain = collect(b, "chat.broadcast");
  await a.publish("chat", "").waitForAck();
  assert.equal((await plain.take("an empty payload")).message.data.payload, "");
}

async function compresses(a, b) {
  const received = collect(b, "chat.large");
  for (const text of ["short", "0123456789".repeat(400)]) {
    await a.publish("chat", { text }, { messageType: "large", compress: true }).waitForAck();
    const { message } = await received.take("a compressed message");
    assert.equal(message.compression, true);
    assert.deepEqual(message.data.payload, { text });
  }
}

async function calls(a, b) {
  b.on("chat.question", (message, reply) => reply({ answer: message.data.payload.n + 1 }, "ok"));
  const [response] = await a.publish("chat", { n: 41 }, { messageType: "question" }).waitForReply();
  assert.deepEqual([response.data, response.status], [{ answer: 42 }, "ok"]);
}

async function unsubscribes(a, b) {
  const seen = collect(b, "*.numbered");
  b.unsubscribeRemoteTopic("chat");
  // The welcome stands behind the unsubscribe: whatever of chat comes later is a fault.
  await subscribed(b, "other");
  await a.publish("chat", 1, { messageType: "numbered" }).waitForAck();
  await a.publish("other", 2, { messageType: "numbered" }).waitForAck();
  assert.equal((await seen.take("the message of the other topic")).message.topic, "other");
}

async function reconnects(a) {
  const closed = within("the close", new Promise((done) => a.once("close", done)));
  ask("restart");
  console.log("closed with", (await closed).code);
  const session = await a.sessions.take("the next session");
  assert.notEqual(session.id, a.connection.id);
  await subscribed(a, "chat");
  const again = collect(a, "chat.again");
  await a.publish("chat", { back: true }, { messageType: "again" }).waitForAck();
  assert.deepEqual((await again.take("the echo")).message.data.payload, { back: true });
}

await main(async () => {
  const a = await connected(), b = await connected();
  assert.match(a.connection.id, /^[0-9a-f]+$/);
  assert.equal(a.connection.appId, "demo");
  assert.equal(a.connection.remoteAddress, "127.0.0.1");
  await subscribed(a, "chat");
  await subscribed(b, "chat");
  await echoes(a, b);
  await compresses(a, b);
  await calls(a, b);
  await unsubscribes(a, b);
  await reconnects(a);
});
