// A person at the page: subscribes, publishes, sees the message; errors in words; reconnects.
import { strict as assert } from "node:assert";
import { withBrowser } from "./browser.mjs";
import { ask, httpUrl, main, post } from "./support.mjs";

const SUBSCRIBED = "#state.good";
const HOSTILE = `<img src=x onerror="document.title='taken'"></pre><script>document.title='taken'</script>`;

async function open(browser) {
  const page = await browser.newPage();
  page.setDefaultTimeout(30_000);
  const faults = [];
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("console", (message) => {
    if (/Content Security Policy/.test(message.text())) faults.push(message.text());
  });
  const response = await page.goto(`${httpUrl}/`);
  assert.equal(response.status(), 200);
  assert((await response.body()).length < 16 * 1024, "the page is to stay small");
  assert.match(response.headers()["content-security-policy"], /default-src 'none'/);
  return { page, faults };
}

async function subscribe(page, { application = "demo", topic = "news", key = "", via }) {
  await page.getByLabel("Application", { exact: true }).fill(application);
  await page.getByLabel("Topic", { exact: true }).fill(topic);
  await page.getByLabel("API key").fill(key);
  await page.getByLabel(via).check();
  await page.getByRole("button", { name: "Subscribe", exact: true }).click();
}

async function unsubscribe(page) {
  await page.getByRole("button", { name: "Unsubscribe" }).click();
  await page.getByText("Not connected").waitFor();
}

async function publish(page, text, asJson = false) {
  await page.getByLabel("Message to").fill(text);
  await page.getByLabel("Send as JSON").setChecked(asJson);
  await page.getByRole("button", { name: "Publish", exact: true }).click();
}

/** Waits until `count` messages are listed; the newest. */
async function newest(page, count) {
  await page.locator("#count", { hasText: `(${count})` }).waitFor();
  return page.locator("#messages li").first();
}

async function seesMessages(page) {
  await publish(page, "from the page");
  const own = await newest(page, 1);
  await own.getByText(/yours, [0-9.]+ ms round trip/).waitFor();
  assert.equal(await own.locator("pre").textContent(), "from the page");
  assert.equal(await own.locator(".topic").textContent(), "news");

  const { id } = await post("/v1/demo/topics/news", HOSTILE);
  const other = await newest(page, 2);
  assert.equal(await other.locator("pre").textContent(), HOSTILE);
  assert.equal(await other.locator(".id").textContent(), id);
  assert.equal(await other.locator(".trip").textContent(), "");
  assert.equal(await page.title(), "Fanwire");

  await publish(page, '{"n": [1, "two"]}', true);
  const json = await newest(page, 3);
  assert.deepEqual(JSON.parse(await json.locator("pre").textContent()), { n: [1, "two"] });
  await publish(page, "{", true);
  await page.locator("#send-note.bad", { hasText: "JSON" }).waitFor();
  await page.getByRole("button", { name: "Clear" }).click();
  await page.locator("#empty").waitFor();
}

async function saysWhatIsWrong(page, via, forbidden) {
  await subscribe(page, { via, application: "absent" });
  await page.getByRole("alert").filter({ hasText: "There is no such application" }).waitFor();
  await subscribe(page, { via, application: "guarded" });
  await page.getByRole("alert").filter({ hasText: "A valid key or token is needed" }).waitFor();
  await subscribe(page, { via, topic: "priv/other" });
  await page.getByRole("alert").filter({ hasText: forbidden }).waitFor();
}

async function usesKeys(page, via) {
  await subscribe(page, { via, application: "guarded", key: "4c8a03e7f51d629b7e" });
  await page.locator(SUBSCRIBED).waitFor();
  await publish(page, "with a key");
  const own = await newest(page, 1);
  await own.getByText(/yours/).waitFor();
  assert(!page.url().includes("4c8a03e7"), "the key shows in the page's address");
  assert(!(await page.locator("#shell").textContent()).includes("4c8a03e7"), "the key is shown");
  await unsubscribe(page);
  await page.getByRole("button", { name: "Clear" }).click();
}

async function survivesRestart(page) {
  ask("restart");
  await page.locator("#state.wait").waitFor();
  await page.locator(SUBSCRIBED).waitFor();
  await publish(page, "after the restart");
  const own = await newest(page, 1);
  assert.equal(await own.locator("pre").textContent(), "after the restart");
  await page.getByRole("button", { name: "Clear" }).click();
}

async function showsCommands(page) {
  await page.getByLabel("Topic", { exact: true }).fill("it's/hot & new");
  await page.getByLabel("Message to").fill("it's");
  const [listen, send] = await page.locator("#shell code").allTextContents();
  assert.equal(listen, `curl -N '${httpUrl}/v1/demo/events?topics=it%27s/hot%20%26%20new'`);
  assert.equal(send, `curl -d 'it'\\''s' '${httpUrl}/v1/demo/topics/it%27s/hot%20%26%20new'`);
}

await main(() =>
  withBrowser(async (browser) => {
    const { page, faults } = await open(browser);
    const ways = { WebSocket: "1008", "Server-sent events": "private topic" };
    for (const [via, forbidden] of Object.entries(ways)) {
      await saysWhatIsWrong(page, via, forbidden);
      await usesKeys(page, via);
      await subscribe(page, { via });
      await page.locator(SUBSCRIBED).waitFor();
      await seesMessages(page);
      await survivesRestart(page);
      await unsubscribe(page);
    }
    await showsCommands(page);
    assert.deepEqual(faults, []);
  }),
);
