// npm eventsource: the native and the buzzPost stream, line ends, Last-Event-ID on reconnect.
import { strict as assert } from "node:assert";
import { EventSource } from "eventsource";
import { ask, httpUrl, main, post, Queue } from "./support.mjs";

const LINES = [
  ["one\ntwo", "one\ntwo"],
  ["one\rtwo", "one\ntwo"],
  ["one\r\ntwo", "one\ntwo"],
  ["\n", "\n"],
  ["data: no\r\rid: forged\revent: forged", "data: no\n\nid: forged\nevent: forged"],
  [" one space, \u{1f600} and \u2028 stay ", " one space, \u{1f600} and \u2028 stay "],
];

async function open(path) {
  const events = new Queue(), opened = new Queue(), requests = [];
  const source = new EventSource(httpUrl + path, {
    fetch: (url, init) => {
      requests.push(init.headers);
      return fetch(url, init);
    },
  });
  source.onopen = () => opened.push(true);
  source.onmessage = (event) => events.push(event);
  await opened.take(`${path} to open`);
  return { source, events, opened, requests };
}

async function native() {
  const { source, events } = await open("/v1/demo/events?topics=a,b/c");
  for (const [text] of LINES) {
    const { id } = await post("/v1/demo/topics/a", text);
    const event = await events.take("a text");
    const { time, ...rest } = JSON.parse(event.data);
    assert.deepEqual(rest, { topic: "a", id, data: text });
    assert(Math.abs(Date.now() - Date.parse(time)) < 600_000, time);
    assert.notEqual(event.lastEventId, "");
  }
  await post("/v1/demo/topics/b/c", '{"x": 1.0}', { "Content-Type": "application/json" });
  const event = await events.take("an object");
  // The bytes are kept: parsed and written again, it would be 1.
  assert(event.data.includes('{"x": 1.0}'), event.data);
  source.close();
}

async function raw(path, publish) {
  const { source, events } = await open(path);
  for (const [text, shown] of LINES) {
    await publish(text);
    assert.equal((await events.take("a text")).data, shown);
  }
  source.close();
}

function buzz(data) {
  return post("/", JSON.stringify({ channel: "x.service-now.com/0a1b", data }));
}

async function reconnects() {
  const { source, events, opened, requests } = await open("/v1/demo/events?topics=back");
  await post("/v1/demo/topics/back", "before");
  const { lastEventId } = await events.take("the first message");
  ask("restart");
  await opened.take("the stream to open again");
  assert.equal(requests.at(-1)["Last-Event-ID"], lastEventId);
  assert.equal(requests[0]["Last-Event-ID"], undefined);
  await post("/v1/demo/topics/back", "after");
  assert.equal(JSON.parse((await events.take("the next message")).data).data, "after");
  source.close();
}

async function refused() {
  const source = new EventSource(`${httpUrl}/v1/guarded/events?topics=a`);
  const errors = new Queue();
  source.onerror = (event) => errors.push(event);
  assert.equal((await errors.take("the refusal")).code, 401);
  assert.equal(source.readyState, EventSource.CLOSED);
  const { source: allowed } = await open("/v1/guarded/events?topics=a&secret=4c8a03e7f51d629b7e");
  allowed.close();
}

await main(async () => {
  await native();
  await raw("/v1/demo/events?topics=raw&format=raw", (text) => post("/v1/demo/topics/raw", text));
  await raw("/?channels=alfa,x.service-now.com/0a1b", buzz);
  await refused();
  await reconnects();
});
