// Long polling with fetch alone is cut off in the middle of a stream: by the network, and by its own
// giving up. The position of the last answer that came whole is all it needs.
import { strict as assert } from "node:assert";
import { APPLICATION, Sequence, survivesCuts } from "./cut.mjs";
import { main } from "./support.mjs";

function polling(aborts) {
  return async (host, topic) => {
    const sequence = new Sequence();
    const path = `http://${host}/v1/${APPLICATION}/poll?topics=${topic},beside`;
    const poll = async (query, signal) => {
      const response = await fetch(path + query, { signal });
      assert.equal(response.status, 200, `${response.status}`);
      const answer = await response.json();
      assert.equal(answer.lost, null, JSON.stringify(answer.lost));
      assert.equal(response.headers.get("ETag"), `"${answer.position}"`);
      return answer;
    };
    let { messages, position } = await poll("&wait=0");
    assert.deepEqual(messages, []);
    const loop = async () => {
      for (;;) {
        aborts.current = new AbortController();
        const since = `&since=${encodeURIComponent(position)}&wait=5&limit=250`;
        const answer = await poll(since, aborts.current.signal).catch((error) => {
          // Cut off, or given up: the next poll asks for the same again.
          if (error instanceof assert.AssertionError) throw error;
        });
        if (answer === undefined) continue;
        for (const message of answer.messages) {
          assert.equal(message.topic, topic);
          sequence.push(message.data);
        }
        position = answer.position;
      }
    };
    loop().catch((error) => sequence.fail(error.message));
    return sequence;
  };
}

await main(async () => {
  const aborts = {};
  await survivesCuts("polled", polling(aborts));
  await survivesCuts("abandoned", polling(aborts), { cut: () => aborts.current.abort() });
});
