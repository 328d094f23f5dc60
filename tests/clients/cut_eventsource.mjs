// npm eventsource is cut off in the middle of a stream: its own Last-Event-ID brings all it missed.
import { EventSource } from "eventsource";
import { APPLICATION, Sequence, survivesCuts } from "./cut.mjs";
import { main, within } from "./support.mjs";

/** A receiver of `query(topic)` that finds the number in an event's data with `read`. */
function receiver(query, read) {
  return async (host, topic) => {
    const sequence = new Sequence();
    const source = new EventSource(`http://${host}/v1/${APPLICATION}/events?${query(topic)}`);
    source.onmessage = ({ data }) => sequence.push(read(data));
    source.addEventListener("lost", ({ data }) => sequence.fail(`told of a loss: ${data}`));
    await within("the stream to open", new Promise((done) => { source.onopen = done; }));
    return sequence;
  };
}

const ofNative = (data) => JSON.parse(data).data;
// Among so many, some live on the other shard: the cursor then holds a place on each.
const beside = ["a", "b", "c", "d", "e", "f", "g", "h"];

await main(async () => {
  await survivesCuts("alone", receiver((topic) => `topics=${topic}`, ofNative));
  await survivesCuts("many", receiver((topic) => `topics=${[topic, ...beside]}`, ofNative));
  await survivesCuts("raw", receiver((topic) => `topics=${topic}&format=raw`, Number));
});
