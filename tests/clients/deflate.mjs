// npm ws: permessage-deflate in each form a client may ask for, in both directions.
import { strict as assert } from "node:assert";
import { WebSocket } from "ws";
import { main, Queue, within, wsUrl } from "./support.mjs";

const OFFERS = [
  {},
  { serverNoContextTakeover: true, clientNoContextTakeover: true },
  ...[9, 10, 12, 15].map((bits) => ({ serverMaxWindowBits: bits, clientMaxWindowBits: bits })),
];

async function connect(perMessageDeflate) {
  const socket = new WebSocket(`${wsUrl}/apps/demo`, { perMessageDeflate });
  const messages = new Queue(), failures = new Queue();
  socket.on("message", (data, isBinary) => messages.push({ message: JSON.parse(data), isBinary }));
  socket.on("error", (error) => failures.push(error));
  await within("the welcome", messages.take("main.welcome"));
  const send = (type, data) => socket.send(JSON.stringify({ type, data }));
  send("subscribe", { topic: "d" });
  await messages.take("d.welcome");
  return { socket, messages, send };
}

async function exchange({ messages, send }, compress) {
  // Enough of it that a window smaller than what came before matters.
  for (let n = 0; n < 40; n += 1) {
    const payload = { n, text: `${n} abcdefghij `.repeat(10 * (n % 30)) };
    send("publish", { topic: "d", payload, compress, id: `m${n}` });
    const got = [await messages.take("a frame"), await messages.take("a frame")];
    const ack = got.find(({ message }) => message.messageType === "ack");
    const echo = got.find(({ message }) => message.topic === "d");
    assert.equal(ack.message.data.data, `m${n}`);
    assert.equal(echo.isBinary, compress);
    assert.deepEqual(echo.message.data.payload, payload);
  }
}

await main(async () => {
  for (const offer of OFFERS) {
    const client = await connect({ threshold: 0, ...offer });
    assert.match(client.socket.extensions, /permessage-deflate/);
    await exchange(client, true);
    await exchange(client, false);
    client.socket.close();
  }
  // One compressed message, to subscribers of every window and to one without compression.
  const clients = await Promise.all([...OFFERS, false].map(connect));
  assert.equal(clients.at(-1).socket.extensions, "");
  const payload = { text: "shared ".repeat(500) };
  clients[0].send("publish", { topic: "d", payload, compress: true });
  for (const { messages } of clients) {
    let got;
    do got = await messages.take("the shared message"); while (got.message.topic !== "d");
    assert.equal(got.isBinary, true);
    assert.deepEqual(got.message.data.payload, payload);
  }
});
