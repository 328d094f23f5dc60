//! What the client says to its parent: what it has learned, then what each round was like.

use std::io::{BufRead as _, Write as _};

use serde_json::{Value, json};

use super::rounds::Rounds;
use crate::scenario::{Scenario, Server};

/// Nanoseconds per second.
pub(super) const NS: f64 = 1e9;

/// Runs the client of `server` at `address` to the end of its input.
pub(crate) fn run(scenario: &Scenario, server: Server, address: &str, token: Option<&str>) {
    let address = address.parse().expect("an address");
    let mut rounds = Rounds::new(scenario, server, address, token);
    say(&rounds.learned());
    let stdin = std::io::stdin();
    while rounds.crowd().tend_until_readable(&stdin) {
        let mut line = String::new();
        if stdin.lock().read_line(&mut line).is_ok_and(|size| size == 0) {
            return;
        }
        say(&rounds.play());
    }
}

fn say(value: &Value) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}").expect("a reader");
    out.flush().expect("a reader");
}

/// A round of so many operations.
pub(super) fn played(operations: u64, latencies_ns: &[f64]) -> Value {
    json!({ "operations": operations, "latencies_ns": latencies_ns })
}
