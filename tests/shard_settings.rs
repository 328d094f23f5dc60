//! What the shards' settings do, counted by the broker's own metrics: the figures that tuning/README.md
//! gives (`cargo test --test shard_settings -- --nocapture` prints them). Counts, never times.

mod support;

use std::io::Write as _;

use support::{Broker, EventStream, Http, Metrics, Setup, request_bytes};

const SUBSCRIBERS: u32 = 20;

/// What the shards counted under `name`, all together.
fn count(metrics: &Metrics, name: &str) -> u64 {
    metrics.count(&format!("fanwire_{name}_total"), &[])
}

fn subscribers(broker: &Broker) -> Vec<EventStream> {
    let open = |_| EventStream::open(broker.http(), "/v1/demo/events?topics=t");
    (0..SUBSCRIBERS).map(open).collect()
}

/// `rounds` times: every publisher sends a burst at once, then all answers are read.
fn publish(publishers: &mut [Http], rounds: usize, burst: usize) {
    let request = request_bytes("POST", "/v1/demo/topics/t", &[], b"\"payload\"");
    for _ in 0..rounds {
        for publisher in &mut *publishers {
            publisher.send(request.repeat(burst));
        }
        for publisher in &mut *publishers {
            for _ in 0..burst {
                assert_eq!(publisher.response().status, 200);
            }
        }
    }
}

/// Sends per delivery, and turns, of publishes with this setting.
fn effect(key: &str, value: &str, rounds: usize, burst: usize) -> (f64, u64) {
    let broker = Setup::new("epoll", 1).with(key, value).start();
    let _subscribers = subscribers(&broker);
    let mut publishers: Vec<Http> = (0..8).map(|_| broker.http()).collect();
    let before = broker.metrics();
    publish(&mut publishers, rounds, burst);
    let published = (8 * rounds * burst) as u64;
    let delivered = published * u64::from(SUBSCRIBERS);
    let after = broker.await_metrics("all is delivered", |metrics| {
        count(metrics, "deliveries") - count(&before, "deliveries") == delivered
    });
    let turns = count(&after, "turns") - count(&before, "turns");
    // With those of the answers, at most one per publish.
    let sends = count(&after, "sends") - count(&before, "sends");
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let each = sends as f64 / delivered as f64;
    let span = |name: &str| after.sum(&format!("fanwire_publish_to_flush_seconds_{name}"), &[]);
    let mean_ms = span("sum") / span("count") * 1e3;
    eprintln!(
        "{key} = {value}: {each:.3} sends per delivery, {turns} turns, {mean_ms:.2} ms to flush"
    );
    (each, turns)
}

#[test]
fn a_flush_delay_makes_deliveries_share_their_sends() {
    let (at_once, _) = effect("SHARDS_FLUSH_DELAY_MAX", "0s", 50, 1);
    effect("SHARDS_FLUSH_DELAY_MAX", "2ms", 50, 1);
    let (delayed, _) = effect("SHARDS_FLUSH_DELAY_MAX", "20ms", 50, 1);
    assert!(delayed < at_once / 2.0, "{delayed} of {at_once}");
}

#[test]
fn fewer_reads_per_turn_make_more_turns_and_sends() {
    let (sends_many, turns_many) = effect("SHARDS_TURN_READS_MAX", "256", 20, 8);
    let (sends_one, turns_one) = effect("SHARDS_TURN_READS_MAX", "1", 20, 8);
    assert!(turns_one >= 160, "a turn for each burst: {turns_one}");
    assert!(turns_one > turns_many && sends_one > sends_many, "{turns_many}, {sends_many}");
}

#[test]
fn fewer_accepts_per_turn_make_more_turns() {
    let turns = |value: &str| {
        let broker = Setup::new("epoll", 1).with("SHARDS_TURN_ACCEPTS_MAX", value).start();
        let mut sockets: Vec<_> = (0..200).map(|_| broker.connect()).collect();
        let after = broker.await_metrics("all are accepted", |metrics| {
            metrics.count("fanwire_connections_accepted_total", &[]) >= 200
        });
        for socket in &mut sockets {
            socket.write_all(b"x").expect("it is open");
        }
        let turns = count(&after, "turns");
        eprintln!("SHARDS_TURN_ACCEPTS_MAX = {value}: {turns} turns for 200 sockets");
        turns
    };
    turns("64");
    assert!(turns("1") >= 200, "a turn for each");
}

#[test]
fn a_short_mesh_queue_loses_nothing() {
    for capacity in ["1024", "1"] {
        let broker = Setup::new("epoll", 2).with("SHARDS_MESH_CAPACITY", capacity).start();
        let _subscribers = subscribers(&broker);
        let mut publishers: Vec<Http> = (0..16).map(|_| broker.http()).collect();
        publish(&mut publishers, 20, 8);
        let expected = 16 * 20 * 8 * u64::from(SUBSCRIBERS);
        let after = broker
            .await_metrics("all is delivered", |metrics| count(metrics, "deliveries") == expected);
        let [sent, refused] =
            ["mesh_batches_sent", "mesh_batches_refused"].map(|name| count(&after, name));
        eprintln!("SHARDS_MESH_CAPACITY = {capacity}: {sent} batches, {refused} had to wait");
    }
}
