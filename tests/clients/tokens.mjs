// npm realtime-pubsub-client and eventsource with tokens: inbound messages, presence, RPC, refusals.
import { strict as assert } from "node:assert";
import { EventSource } from "eventsource";
import pubsub from "realtime-pubsub-client";
import { WebSocket } from "ws";
import { byJose, byJsonwebtoken } from "./keys.mjs";
import { ask, httpUrl, main, Queue, within, wsUrl } from "./support.mjs";

const RECONNECT = { minReconnectionDelay: 50, maxReconnectionDelay: 500 };
const READ_INBOUND = "realtime:subscriber:read:topic:secure/inbound";
const ANSWER = "realtime:publisher:write:topic:priv/*";

/** A client that mints a token for every connection. */
function client(mint) {
  const urlProvider = async () => `${wsUrl}/apps/demo?access_token=${await mint()}`;
  const made = new pubsub.RealtimeClient({ websocketOptions: { urlProvider, WebSocket, ...RECONNECT } });
  made.sessions = new Queue();
  made.closes = new Queue();
  made.on("session.started", (connection) => made.sessions.push(connection));
  made.on("close", ({ code, reason }) => made.closes.push({ code, reason }));
  // Without a listener the emitter throws; a lost connection shows as a missing session.
  made.on("error", (error) => console.log("client error:", error.message));
  return made;
}

const es512 = (sub, permissions = []) => () => byJose("ES512", { sub, permissions });
const hs256 = (sub, permissions = []) => () => byJsonwebtoken("HS256", { sub, permissions });

async function connected(mint) {
  const made = client(mint);
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

/** The next presence of this subject. */
async function presenceOf(queue, subject) {
  for (;;) {
    const { message } = await queue.take(`the presence of ${subject}`);
    if (message.data.client.subject === subject) return message;
  }
}

async function presence(backend) {
  const told = collect(backend, "secure/inbound.presence");
  const permissions = ["realtime:subscriber:read:topic:secure/*", "other"];
  const alice = await connected(es512("alice", permissions));
  const shape = (code, status) => ({
    topic: "secure/inbound",
    messageType: "presence",
    compression: false,
    data: {
      client: { connectionId: alice.connection.id, subject: "alice", permissions },
      subProtocol: 1,
      payload: { code, status },
    },
  });
  assert.deepEqual(await presenceOf(told, "alice"), shape(0, "connected"));
  await alice.disconnect();
  assert.deepEqual(await presenceOf(told, "alice"), shape(-1, "disconnected"));
}

async function inbound(backend) {
  const orders = collect(backend, "secure/inbound.order");
  const bob = await connected(hs256("bob"));
  for (const compress of [false, true]) {
    await bob.send({ n: 1, text: "grüße" }, { messageType: "order", id: "o1", compress }).waitForAck();
    const { message } = await orders.take("the order");
    assert.deepEqual(message, {
      topic: "secure/inbound",
      messageType: "order",
      compression: compress,
      data: {
        client: { connectionId: bob.connection.id, subject: "bob", permissions: [] },
        payload: { n: 1, text: "grüße" },
        id: "o1",
      },
    });
  }
  // The backend answers on priv/{connectionId}, which nobody subscribes to.
  backend.on("secure/inbound.question", (message, reply) => reply({ answer: message.data.payload.n + 1 }, "ok"));
  const [response] = await bob.send({ n: 41 }, { messageType: "question" }).waitForReply();
  assert.deepEqual([response.data, response.status], [{ answer: 42 }, "ok"]);
  await bob.disconnect();
}

async function refused() {
  for (const [topic, reason] of [
    ["secure/x", "Subscription to secure topic is forbidden!"],
    ["priv/carol", "Subscription to private topic is forbidden!"],
  ]) {
    const carol = await connected(es512("carol", ["realtime:subscriber:read:topic:secure/y"]));
    carol.subscribeRemoteTopic(topic);
    assert.deepEqual(await carol.closes.take("the close"), { code: 1008, reason });
    await carol.disconnect();
  }
  const dave = await connected(es512("dave", ["realtime:publisher:write:topic:other"]));
  dave.publish("chat", "hi");
  const reason = "Publishing to topic is forbidden!";
  assert.deepEqual(await dave.closes.take("the close"), { code: 1008, reason });
  await dave.disconnect();
}

async function secured() {
  const permissions = ["realtime:subscriber:read:topic:secure/*", "realtime:publisher:write:topic:secure/*"];
  const erin = await connected(es512("erin", permissions));
  await subscribed(erin, "secure/room");
  const heard = collect(erin, "secure/room.greeting");
  await erin.publish("secure/room", "hi", { messageType: "greeting", compress: true }).waitForAck();
  const { message } = await heard.take("the greeting");
  assert.deepEqual([message.compression, message.data.payload], [true, "hi"]);
  await erin.disconnect();
}

/** A token that has expired opens nothing; the client gets in with the next one it mints. */
async function expired() {
  const past = Math.floor(Date.now() / 1000) - 60;
  let minted = 0;
  const mint = () => {
    minted += 1;
    return byJose("ES512", { sub: "frank" }, minted < 3 ? past : "10m");
  };
  const frank = client(mint);
  // It rejects with the first attempt, and goes on by itself.
  await frank.connect().catch(() => {});
  await frank.sessions.take("the session of the third token");
  assert.equal(minted, 3);
  await frank.disconnect();
}

async function reconnects() {
  let minted = 0;
  const mint = () => {
    minted += 1;
    return byJose("ES512", { sub: "grace", permissions: ["realtime:publisher:write:topic:*"] });
  };
  const grace = await connected(mint);
  ask("restart");
  const session = await grace.sessions.take("the next session");
  assert.notEqual(session.id, grace.connection.id);
  assert(minted > 1, "a fresh token");
  await subscribed(grace, "chat");
  const heard = collect(grace, "chat.again");
  await grace.publish("chat", { back: true }, { messageType: "again" }).waitForAck();
  assert.deepEqual((await heard.take("the echo")).message.data.payload, { back: true });
  await grace.disconnect();
}

/** A stream of secure/inbound by query and by header, and without the permission. */
async function streams() {
  const token = await byJose("ES512", { sub: "reader", permissions: [READ_INBOUND] });
  const path = `${httpUrl}/v1/demo/events?topics=secure/inbound`;
  const open = async (url, headers) => {
    const source = new EventSource(url, {
      fetch: (target, init) => fetch(target, { ...init, headers: { ...init.headers, ...headers } }),
    });
    source.events = new Queue();
    source.onmessage = ({ data }) => source.events.push(JSON.parse(data));
    await within("the stream to open", new Promise((done) => { source.onopen = done; }));
    return source;
  };
  const sources = [
    await open(`${path}&access_token=${token}`, {}),
    await open(path, { Authorization: `Bearer ${token}` }),
  ];
  const heidi = await connected(hs256("heidi"));
  await heidi.send({ n: 1 }, { messageType: "order", id: "o1" }).waitForAck();
  for (const source of sources) {
    let event;
    do event = await source.events.take("the order"); while (event.messageType !== "order");
    const { id, time, ...rest } = event;
    assert(id && time, "each message has an id and a time");
    assert.deepEqual(rest, {
      topic: "secure/inbound",
      messageType: "order",
      data: { n: 1 },
      client: { connectionId: heidi.connection.id, subject: "heidi", permissions: [] },
      clientMessageId: "o1",
    });
    source.close();
  }
  const other = await byJose("ES512", { sub: "reader", permissions: [] });
  const source = new EventSource(`${path}&access_token=${other}`);
  const { code } = await within("the refusal", new Promise((done) => { source.onerror = done; }));
  assert.deepEqual([code, source.readyState], [403, EventSource.CLOSED]);
  await heidi.disconnect();
}

await main(async () => {
  const backend = await connected(es512("backend", [READ_INBOUND, ANSWER]));
  await subscribed(backend, "secure/inbound");
  await presence(backend);
  await inbound(backend);
  await secured();
  await refused();
  await streams();
  await expired();
  await backend.disconnect();
  await reconnects();
});
