// A stream of 10,000 messages whose receiver is cut off several times in the middle: the proxy that
// cuts, the publisher that does not wait, and the judge.
import { strict as assert } from "node:assert";
import { connect, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { address, post, within } from "./support.mjs";

const MESSAGES = 10_000;
const BATCH = 100;
/** Messages published when the receiver is cut. */
const CUTS = [1_000, 2_500, 5_000, 6_000, 8_500];
/** The receiver may be this far behind when it is cut: then messages are lost on the way. */
const BEHIND = 300;

/** The application that keeps enough history for a whole stream. */
export const APPLICATION = "kept";

/** Passes bytes between a port of its own and the broker, until it is told to cut. */
class Proxy {
  #sockets = new Set();
  connections = 0;

  static async start() {
    const proxy = new Proxy();
    const server = createServer((client) => proxy.#pass(client));
    await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
    proxy.address = `127.0.0.1:${server.address().port}`;
    return proxy;
  }

  #pass(client) {
    this.connections += 1;
    const [host, port] = address.split(":");
    const broker = connect(Number(port), host);
    for (const [from, to] of [[client, broker], [broker, client]]) {
      this.#sockets.add(from);
      from.on("error", () => to.destroy()).on("close", () => {
        this.#sockets.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  }

  /** Resets every connection, whatever is under way. */
  cut() {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }
}

/** Checks that numbers come from 0 on, none missing, none twice, in order. */
export class Sequence {
  next = 0;
  #wrong;
  #waiting = [];

  push(number) {
    if (number === this.next) this.next += 1;
    else this.fail(`${number} came instead of ${this.next}`);
    this.#wake();
  }

  fail(why) {
    this.#wrong ??= why;
    this.#wake();
  }

  /** Waits until so many have come. */
  reach(count) {
    const reached = new Promise((done, failed) => this.#waiting.push({ count, done, failed }));
    this.#wake();
    return within(`${count} messages (${this.next} came)`, reached);
  }

  #wake() {
    const isOver = ({ count }) => this.#wrong !== undefined || this.next >= count;
    for (const { done, failed } of this.#waiting.filter(isOver)) {
      if (this.#wrong === undefined) done();
      else failed(new Error(this.#wrong));
    }
    this.#waiting = this.#waiting.filter((one) => !isOver(one));
  }
}

function publish(topic, first) {
  const messages = Array.from({ length: BATCH }, (_, index) => ({ topic, data: first + index }));
  const headers = { "Content-Type": "application/json" };
  return post(`/v1/${APPLICATION}/publish`, JSON.stringify({ messages }), headers);
}

/**
 * Runs one receiver through a stream. `receive(host, topic)` subscribes through the proxy at `host`
 * and answers how to wait: an object with `reach(count)`, such as a `Sequence`; `cut`, where there
 * is one, cuts in the receiver's own way.
 */
export async function survivesCuts(topic, receive, { cut } = {}) {
  const proxy = await Proxy.start();
  const receiver = await receive(proxy.address, topic);
  const cutOff = async (count) => {
    await receiver.reach(count - BEHIND);
    // At various places of the batch that is being published meanwhile.
    await sleep(2 * CUTS.indexOf(count));
    await (cut ?? (() => proxy.cut()))();
  };
  for (let count = 0; count < MESSAGES; count += BATCH) {
    const published = publish(topic, count);
    await Promise.all(CUTS.includes(count) ? [published, cutOff(count)] : [published]);
  }
  await receiver.reach(MESSAGES);
  // Whatever comes twice or too much would come now.
  await sleep(300);
  await receiver.reach(MESSAGES);
  assert(proxy.connections > CUTS.length, `only ${proxy.connections} connections`);
  console.log(`${topic}: ${MESSAGES} messages over ${proxy.connections} connections`);
}
