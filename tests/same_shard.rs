//! A publish costs only the shards that have to do with it.

mod support;

use support::{WebSocket, on_each};

const PUBLISH_COUNT: u64 = 300;

/// Turns that a look at the metrics, the end of an earlier connection or a timer may cost.
const SPARE_TURNS: u64 = 20;

#[test]
fn a_publish_among_subscribers_of_one_shard_leaves_the_others_asleep() {
    on_each(|broker| {
        for (shard, topic) in broker.topics("here").iter().enumerate() {
            let mut socket = broker.websockets().swap_remove(shard);
            socket.subscribe(topic);
            let before = broker.metrics();
            for number in 0..PUBLISH_COUNT {
                publish_and_read(&mut socket, topic, number);
            }
            let after = broker.metrics();
            let delta = |name: &str, labels: &[(&str, &str)]| {
                after.count(name, labels) - before.count(name, labels)
            };
            for other in (0..broker.variant.shards).filter(|other| usize::from(*other) != shard) {
                let label = other.to_string();
                let turns = delta("fanwire_turns_total", &[("shard", &label)]);
                assert!(turns <= SPARE_TURNS, "shard {other} turned {turns} times for {shard}");
            }
            let label = shard.to_string();
            let own = [("shard", label.as_str())];
            assert!(delta("fanwire_turns_total", &own) >= PUBLISH_COUNT, "{after:?}");
            let batches = delta("fanwire_mesh_batches_sent_total", &own);
            assert_eq!(batches, 0, "shard {shard} told others of what is its own");
        }
    });
}

fn publish_and_read(socket: &mut WebSocket, topic: &str, number: u64) {
    let payload = number.to_string();
    let data = serde_json::json!({ "topic": topic, "messageType": "n", "payload": payload });
    socket.send(&serde_json::json!({ "type": "publish", "data": data }).to_string());
    // Its acknowledgement and the message itself.
    let values = [socket.value(), socket.value()];
    assert!(values.iter().any(|value| value["data"]["payload"] == payload), "{values:?}");
}
