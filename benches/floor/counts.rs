//! Exact counts out of the broker's own metrics, and the cost of a hop between shards.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::report::{Report, per};
use crate::scenario::counts_scenarios;
use crate::servers::Side;
use crate::{cpu, raw, wire};

/// Counts the work of one round of each load.
pub(crate) fn count(report: &mut Report) {
    for scenario in counts_scenarios() {
        let mut side = Side::start(&scenario, scenario.server, &Value::Null);
        let soft_irq = cpu::SoftIrqThread::find();
        side.play(&soft_irq);
        let before = side.metrics();
        let round = side.play(&soft_irq);
        let after = side.metrics();
        let delta = |name: &str| sum(&after, name) - sum(&before, name);
        let messages = scenario.load.messages as u64;
        let deliveries = round.operations;
        let lines = [
            format!(
                "{messages} messages, {deliveries} deliveries, {} turns",
                delta("fanwire_turns_total")
            ),
            format!(
                "sends per delivery       {:.4}",
                per(delta("fanwire_sends_total"), deliveries)
            ),
            format!(
                "ring enters per turn     {:.3}",
                per(delta("fanwire_send_calls_total"), delta("fanwire_turns_total"))
            ),
            format!(
                "eventfd writes per publish {:.4}",
                per(delta("fanwire_wakes_total"), messages)
            ),
            format!(
                "mesh batches per publish {:.4}",
                per(delta("fanwire_mesh_batches_sent_total"), messages)
            ),
            format!(
                "bytes sent per delivery  {:.1}",
                per(delta("fanwire_sent_bytes_total"), deliveries)
            ),
        ];
        let entry = json!({
            "deliveries": deliveries,
            "messages": messages,
            "turns": delta("fanwire_turns_total"),
            "sends": delta("fanwire_sends_total"),
            "send_calls": delta("fanwire_send_calls_total"),
            "wakes": delta("fanwire_wakes_total"),
            "mesh_batches": delta("fanwire_mesh_batches_sent_total"),
        });
        report.note(scenario.name, &lines, entry, None);
    }
}

/// A counter's sum over its labels.
fn sum(metrics: &str, name: &str) -> u64 {
    let values = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let is_it = rest.starts_with('{') || rest.starts_with(' ');
        is_it.then(|| rest.rsplit(' ').next()?.parse::<f64>().ok()).flatten()
    });
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let total = values.sum::<f64>() as u64;
    total
}

/// Most that a hop may cost, in bare wakes.
const HOP_RATIO_MAX: f64 = 1.2;
const HOP_COUNT: usize = 20_000;

/// What a publish to another shard takes longer than one to its own, by half (there and back),
/// against the bare wake of a thread on the other CPU.
pub(crate) fn hop(report: &mut Report) {
    let scenario = counts_scenarios()[2];
    let side = Side::start(&scenario, scenario.server, &Value::Null);
    // On the CPU of shard 0, so that each step hands over to one that waits.
    cpu::pin_self(&[cpu::SERVER_CPU]);
    let mut publisher = Publisher::open(side.address());
    let (own, other) = publisher.topics();
    let mut ratios = Vec::new();
    let mut lines = Vec::new();
    for _ in 0..5 {
        let near = publisher.median_ns(&own);
        let far = publisher.median_ns(&other);
        let bare = raw::bare_wake_ns(HOP_COUNT);
        let hop = (far - near) / 2.0;
        ratios.push(hop / bare);
        lines.push(format!(
            "own shard {near:>8.0} ns, other {far:>8.0} ns: a hop {hop:>7.0} ns, a bare wake {bare:>7.0} ns, ratio {:.2}",
            hop / bare
        ));
    }
    cpu::pin_self(&[cpu::CLIENT_CPU]);
    let ratio = crate::statistics::Summary::of(&ratios);
    let is_met = ratio.median <= HOP_RATIO_MAX;
    let verdict = if is_met { "met" } else { "MISSED" };
    lines.push(format!("ratio {ratio}; at most {HOP_RATIO_MAX}: {verdict}"));
    report.note("hop", &lines, json!({ "ratio": ratio.to_json() }), Some(is_met));
}

struct Publisher {
    socket: TcpStream,
}

impl Publisher {
    /// Connects. Whichever shard has the connection, near and far topics are told apart by time.
    fn open(address: &str) -> Publisher {
        let socket = TcpStream::connect(address).expect("the broker accepts");
        socket.set_nodelay(true).expect("a TCP socket");
        Publisher { socket }
    }

    fn publish(&mut self, topic: &str) -> String {
        let request = format!(
            "POST /v1/demo/topics/{topic} HTTP/1.1\r\nHost: b\r\nContent-Length: 1\r\n\r\n1"
        );
        self.socket.write_all(request.as_bytes()).expect("the broker reads");
        let mut answer = [0; 4096];
        let size = self.socket.read(&mut answer).expect("the broker answers");
        assert_eq!(wire::answers(&answer[..size]).1, 1, "an answer comes whole");
        String::from_utf8_lossy(&answer[..size]).into_owned()
    }

    /// A topic of this connection's shard and one of the other's.
    fn topics(&mut self) -> (String, String) {
        let home = |answer: &str| {
            let at = answer.find("\"position\":\"").expect("a position") + 12;
            let position: String = answer[at..].chars().take_while(|c| *c != '.').collect();
            position.rsplit('-').next().map(str::to_owned)
        };
        // The first topic has subscribers.
        let names: Vec<String> = (1..64).map(wire::topic).collect();
        let homes: Vec<Option<String>> =
            names.iter().map(|name| home(&self.publish(name))).collect();
        let second = homes.iter().position(|home| *home != homes[0]).expect("two shards");
        let (a, b) = (names[0].clone(), names[second].clone());
        if self.median_ns(&a) < self.median_ns(&b) { (a, b) } else { (b, a) }
    }

    fn median_ns(&mut self, topic: &str) -> f64 {
        let mut times: Vec<f64> = (0..HOP_COUNT / 4)
            .map(|_| {
                let began = fanwire::stdx::clock::now();
                self.publish(topic);
                began.elapsed().as_secs_f64() * 1e9
            })
            .collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }
}
