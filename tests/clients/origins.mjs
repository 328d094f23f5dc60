// Pages of other origins: EventSource and fetch through CORS, WebSockets, the preflight, who is kept
// out, and who comes back.
import { strict as assert } from "node:assert";
import { createServer } from "node:http";
import { withBrowser } from "./browser.mjs";
import { httpUrl, main, within, wsUrl } from "./support.mjs";

const KEY = "4c8a03e7f51d629b7e";

/** A page from another port of this machine. */
async function pageFromAnotherPort(browser) {
  const server = createServer((_, response) => {
    response.setHeader("Content-Type", "text/html").end("<!doctype html><title>other</title>");
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  server.close();
  return page;
}

/** A page of the one origin that the guarded application knows. */
async function pageOfListedOrigin(browser) {
  const page = await browser.newPage();
  await page.route("https://app.example.com/", (route) =>
    route.fulfill({ contentType: "text/html", body: "<!doctype html><title>app</title>" }),
  );
  await page.goto("https://app.example.com/");
  return page;
}

/** In the page: subscribes, publishes once the stream is open; the data of the first event. */
function roundTrip(page, stream, publish, request) {
  return page.evaluate(
    async ([stream, publish, request]) => {
      const source = new EventSource(stream);
      const arrived = new Promise((resolve, reject) => {
        source.onmessage = (event) => resolve(event.data);
        source.onerror = () => reject(new Error("the stream failed"));
        setTimeout(() => reject(new Error("nothing arrived")), 30_000);
      });
      const opened = new Promise((resolve) => { source.onopen = resolve; });
      await Promise.race([opened, arrived]);
      const answer = await fetch(publish, { method: "POST", ...request });
      const receipt = await answer.json();
      const data = await arrived;
      source.close();
      return { status: answer.status, id: receipt.id, data };
    },
    [stream, publish, request],
  );
}

/** In the page: whether it may read the answer. */
function mayRead(page, url, request) {
  return page.evaluate(
    ([url, request]) => fetch(url, request).then((answer) => answer.status, () => "kept out"),
    [url, request],
  );
}

async function everyOrigin(page) {
  // buzzPost as its own page writes it: no Content-Type set, so the request is a simple one.
  const body = JSON.stringify({ channel: "alfa", data: "Hello\nworld!" });
  const simple = await roundTrip(page, `${httpUrl}/?channels=alfa,bravo`, `${httpUrl}/`, { body });
  assert.deepEqual([simple.status, simple.data], [200, "Hello\nworld!"]);
  // The header asks for a preflight.
  const headers = { "X-Secret": "9f2b61c07d3e48a5b1", "Content-Type": "application/json" };
  const flown = await roundTrip(page, `${httpUrl}/?channels=alfa`, `${httpUrl}/`, { body, headers });
  assert.deepEqual([flown.status, flown.data], [200, "Hello\nworld!"]);

  const native = await roundTrip(
    page,
    `${httpUrl}/v1/demo/events?topics=a`,
    `${httpUrl}/v1/demo/topics/a`,
    { body: "{}", headers: { "Content-Type": "application/json" } },
  );
  assert.equal(JSON.parse(native.data).id, native.id);
  // A refusal is to be readable too.
  const wrong = { method: "POST", body, headers: { "X-Secret": "wrong" } };
  assert.equal(await mayRead(page, `${httpUrl}/`, wrong), 401);
}

async function listedOrigin(page) {
  const answer = await roundTrip(
    page,
    `${httpUrl}/v1/guarded/events?topics=a&secret=${KEY}`,
    `${httpUrl}/v1/guarded/topics/a`,
    { body: "hi", headers: { "X-API-Key": KEY } },
  );
  assert.deepEqual([answer.status, JSON.parse(answer.data).data], [200, "hi"]);
}

async function keptOut(page) {
  const url = `${httpUrl}/v1/guarded/topics/a`;
  const request = { method: "POST", body: "hi", headers: { "X-API-Key": KEY } };
  assert.equal(await mayRead(page, url, request), "kept out");
  const stream = `${httpUrl}/v1/guarded/events?topics=a&secret=${KEY}`;
  await assert.rejects(roundTrip(page, stream, url, request), /the stream failed/);
}

/** WebSockets know no CORS: a browser's frames, masked and compressed as it likes. */
async function webSocket(page) {
  const got = await page.evaluate((url) => {
    const socket = new WebSocket(url);
    const send = (type, data) => socket.send(JSON.stringify({ type, data }));
    return new Promise((resolve, reject) => {
      setTimeout(() => reject(new Error("nothing arrived")), 30_000);
      socket.onclose = ({ code, reason }) => reject(new Error(`closed ${code} ${reason}`));
      socket.onmessage = async ({ data }) => {
        const isText = typeof data === "string";
        const message = JSON.parse(isText ? data : await data.text());
        if (message.messageType === "welcome" && message.topic === "main") send("subscribe", { topic: "w" });
        if (message.messageType === "welcome" && message.topic === "w") {
          send("publish", { topic: "w", payload: "x".repeat(4000), compress: true });
        }
        if (message.messageType === "broadcast") {
          resolve({ isText, size: message.data.payload.length, extensions: socket.extensions });
        }
      };
    });
  }, `${wsUrl}/apps/demo`);
  assert.equal(got.isText, false);
  assert.equal(got.size, 4000);
  assert.match(got.extensions, /permessage-deflate/);
}

/** In the page: how a WebSocket of the guarded application begins. */
function guardedWebSocket(page) {
  return page.evaluate((url) => {
    const socket = new WebSocket(url);
    return new Promise((resolve, reject) => {
      setTimeout(() => reject(new Error("nothing happened")), 30_000);
      socket.onmessage = ({ data }) => resolve(JSON.parse(data).messageType);
      socket.onclose = ({ code }) => resolve(code);
    });
  }, `${wsUrl}/apps/guarded?secret=${KEY}`);
}

/** Streams beyond the rate are shed, and every one of them comes back by itself and gets in. */
async function shedStreams(page) {
  const streams = await page.evaluateHandle((url) => {
    const state = { shed: 0, heard: new Set(), sources: [] };
    for (let index = 0; index < 5; index += 1) {
      const source = new EventSource(url);
      source.onerror = () => { state.shed += 1; };
      source.onmessage = () => state.heard.add(index);
      state.sources.push(source);
    }
    return state;
  }, `${httpUrl}/v1/shed/events?topics=a`);
  await within("every stream to hear something", (async () => {
    // A publish may be shed too; one of them will not be.
    while ((await streams.evaluate(({ heard }) => heard.size)) < 5) {
      await fetch(`${httpUrl}/v1/shed/topics/a`, { method: "POST", body: "hi" });
      await page.waitForTimeout(200);
    }
  })());
  assert((await streams.evaluate(({ shed }) => shed)) > 0, "nobody was shed");
  await streams.evaluate(({ sources }) => sources.forEach((source) => source.close()));
}

await main(() =>
  withBrowser(async (browser) => {
    const other = await pageFromAnotherPort(browser);
    await everyOrigin(other);
    await webSocket(other);
    await keptOut(other);
    assert.equal(await guardedWebSocket(other), 1006);
    const listed = await pageOfListedOrigin(browser);
    await listedOrigin(listed);
    assert.equal(await guardedWebSocket(listed), "welcome");
    await shedStreams(other);
  }),
);
