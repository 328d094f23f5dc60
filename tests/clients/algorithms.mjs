// npm jose and jsonwebtoken: tokens of all algorithms at all doors, by key file and by key set.
import { strict as assert } from "node:assert";
import { createServer } from "node:http";
import { exportJWK, generateKeyPair, importSPKI, SignJWT } from "jose";
import { WebSocket } from "ws";
import { ALGORITHMS, byJose, byJsonwebtoken, EVERYTHING, readKey } from "./keys.mjs";
import { httpUrl, main, within, wsUrl } from "./support.mjs";

const CLAIMS = { sub: "user0@example.com", permissions: EVERYTHING };

/** What a WebSocket is met with: 101, or the status of the refusal. */
function knockAtWebSocket(app, token, inHeader) {
  const headers = inHeader ? { Authorization: `Bearer ${token}` } : {};
  const query = inHeader ? "" : `?access_token=${token}`;
  const socket = new WebSocket(`${wsUrl}/apps/${app}${query}`, { headers });
  return within(`${app} to answer`, new Promise((done) => {
    socket.on("message", () => { done(101); socket.close(); });
    socket.on("unexpected-response", (_, response) => { done(response.statusCode); socket.terminate(); });
    socket.on("error", () => {});
  }));
}

async function knock(method, path, token, inHeader, body) {
  const url = new URL(httpUrl + path);
  const headers = inHeader ? { Authorization: `Bearer ${token}` } : {};
  if (!inHeader) url.searchParams.set("access_token", token);
  const stop = new AbortController();
  const response = await fetch(url, { method, headers, body, signal: stop.signal });
  if (!response.headers.get("content-type").startsWith("text/event-stream")) await response.text();
  stop.abort();
  return response.status;
}

/** The status at every door. */
async function everywhere(app, token) {
  const found = {};
  for (const inHeader of [true, false]) {
    const way = inHeader ? "header" : "query";
    found[`websocket ${way}`] = await knockAtWebSocket(app, token, inHeader);
    for (const [name, method, path, body] of [
      ["stream", "GET", `/v1/${app}/events?topics=secure/a`],
      ["publish", "POST", `/v1/${app}/topics/secure/a`, "hi"],
      ["platform", "POST", `/api/topics/${app}/publish`, '{"topic":"secure/a","message":"hi"}'],
      ["administration", "GET", `/v1/${app}`],
      ...(app === "demo" ? [["buzzPost", "POST", "/", '{"channel":"secure/a","data":"hi"}']] : []),
    ]) found[`${name} ${way}`] = await knock(method, path, token, inHeader, body);
  }
  return found;
}

function isOpen(found) {
  for (const [door, status] of Object.entries(found)) {
    assert.equal(status, door.startsWith("websocket") ? 101 : 200, door);
  }
}

function isClosed(found) {
  for (const [door, status] of Object.entries(found)) assert.equal(status, 401, door);
}

/** Serves a key set on the socket that the test has opened. */
async function provider() {
  const served = { keys: [] };
  for (const alg of ALGORITHMS.filter((name) => !name.startsWith("HS"))) {
    const jwk = await exportJWK(await importSPKI(readKey(alg, "pub"), alg, { extractable: true }));
    served.keys.push({ ...jwk, alg, kid: alg, use: "sig" });
  }
  const server = createServer((_, response) => {
    response.setHeader("Content-Type", "application/jwk-set+json").end(JSON.stringify(served));
  });
  await new Promise((ready) => server.listen({ fd: 0 }, ready));
  return served;
}

async function rotated(served) {
  const { publicKey, privateKey } = await generateKeyPair("ES512", { extractable: true });
  const sign = () => new SignJWT(CLAIMS).setProtectedHeader({ alg: "ES512", kid: "new" })
    .setExpirationTime("10m").sign(privateKey);
  isClosed(await everywhere("jwks", await sign()));
  served.keys.push({ ...(await exportJWK(publicKey)), kid: "new" });
  await within("the new key to be fetched", (async () => {
    while ((await knock("GET", "/v1/jwks", await sign(), true)) !== 200);
  })());
  isOpen(await everywhere("jwks", await sign()));
}

async function forged(alg) {
  const { privateKey } = await generateKeyPair(alg);
  const token = new SignJWT(CLAIMS).setProtectedHeader({ alg, kid: alg }).setExpirationTime("10m");
  return token.sign(privateKey);
}

await main(async () => {
  const served = await provider();
  for (const alg of ALGORITHMS) {
    isOpen(await everywhere("demo", await byJose(alg, CLAIMS)));
    if (alg !== "EdDSA") isOpen(await everywhere("demo", byJsonwebtoken(alg, CLAIMS)));
    if (alg.startsWith("HS")) {
      isClosed(await everywhere("jwks", await byJose(alg, CLAIMS)));
      continue;
    }
    isOpen(await everywhere("jwks", await byJose(alg, CLAIMS)));
    for (const app of ["demo", "jwks"]) isClosed(await everywhere(app, await forged(alg)));
    console.log(alg, "opens every door");
  }
  await rotated(served);
});
