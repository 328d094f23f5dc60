// What the scripts share: the broker's addresses, waiting with a bound, talking to the test.
import { strict as assert } from "node:assert";

const WAIT_MS_MAX = 30_000;

export const address = process.argv[2];
export const httpUrl = `http://${address}`;
export const wsUrl = `ws://${address}`;

/** The promise's value; fails and says what was waited for when it takes too long. */
export async function within(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), WAIT_MS_MAX);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Values in the order of their arrival, each to be taken once. */
export class Queue {
  #values = [];
  #takers = [];

  push(value) {
    const taker = this.#takers.shift();
    if (taker) taker(value);
    else this.#values.push(value);
  }

  take(what) {
    if (this.#values.length > 0) return Promise.resolve(this.#values.shift());
    return within(what, new Promise((resolve) => this.#takers.push(resolve)));
  }

  get isEmpty() {
    return this.#values.length === 0;
  }
}

/** Asks the test to `restart` the broker in order, or to let it `crash`. */
export function ask(command) {
  process.stdout.write(`@${command}\n`);
}

/** Publishes and returns the receipt. */
export async function post(path, body, headers = {}) {
  const response = await fetch(httpUrl + path, { method: "POST", body, headers });
  const answer = await response.text();
  assert.equal(response.status, 200, `${path}: ${response.status} ${answer}`);
  return JSON.parse(answer);
}

/** Runs the script; its end is the process's, whatever still is open. */
export async function main(script) {
  try {
    await script();
    process.exit(0);
  } catch (error) {
    console.error(error);
    process.exit(1);
  }
}
