// A browser's EventSource is cut off in the middle of a stream, and comes back for what it missed.
import { withBrowser } from "./browser.mjs";
import { APPLICATION, survivesCuts } from "./cut.mjs";
import { main } from "./support.mjs";

/** In the page: a stream whose numbers must come from 0 on, in order, each once. */
function listen(url) {
  const state = { next: 0, wrong: null };
  const source = new EventSource(url);
  source.onmessage = ({ data }) => {
    const number = JSON.parse(data).data;
    if (number === state.next) state.next += 1;
    else state.wrong ??= `${number} came instead of ${state.next}`;
  };
  source.addEventListener("lost", ({ data }) => { state.wrong ??= `told of a loss: ${data}`; });
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) state.wrong ??= "it gave up";
  };
  window.state = state;
  return new Promise((opened) => { source.onopen = () => opened(); });
}

function receiver(page) {
  return async (host, topic) => {
    await page.evaluate(listen, `http://${host}/v1/${APPLICATION}/events?topics=${topic}`);
    return {
      async reach(count) {
        const isOver = (count) => window.state.wrong !== null || window.state.next >= count;
        await page.waitForFunction(isOver, count, { timeout: 60_000 });
        const { wrong } = await page.evaluate(() => window.state);
        if (wrong !== null) throw new Error(wrong);
      },
    };
  };
}

await main(() =>
  withBrowser(async (browser) => {
    const page = await browser.newPage();
    // Any page will do that may run a script; the stream comes from the proxy's origin.
    await page.route("http://page.example/", (route) =>
      route.fulfill({ contentType: "text/html", body: "<!doctype html><title>page</title>" }),
    );
    await page.goto("http://page.example/");
    await survivesCuts("browser", receiver(page));
  }),
);
