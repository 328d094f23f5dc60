// A headless browser for the scripts that need one.
import { chromium } from "playwright-core";

/** Runs `script` with a browser, and ends the browser whatever happens. */
export async function withBrowser(script) {
  const browser = await chromium.launch({
    executablePath: process.env.FANWIRE_BROWSER,
    // Root has no sandbox. Pages that the scripts make up have no address; a browser asks its user
    // before such a page may speak to this machine.
    args: ["--no-sandbox", "--disable-features=LocalNetworkAccessChecks"],
  });
  try {
    await script(browser);
  } finally {
    await browser.close();
  }
}
