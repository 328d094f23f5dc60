//! The cases of the micro-benches in nanoseconds, for machines without valgrind.
//!
//! `cargo bench --bench micro_time [-- NAME…]` prints per case the fastest and the median of 30
//! batches, per operation; where a name ends in a number, one operation is so many deliveries,
//! messages or parcels. Times depend on the machine and on what else it does: the
//! fastest is the figure to compare, on one machine, with a median near it; where the two are far
//! apart, measure again. Instruction counts (`--bench micro`) need no such care.

#![expect(clippy::print_stdout, reason = "the report")]

mod cases;
#[path = "../../src/shard/outbound.rs"]
#[expect(dead_code, reason = "a file of the shard, of which the cases use what a fan-out uses")]
mod outbound;
#[path = "../../src/shard/dispatch/route.rs"]
#[expect(dead_code, reason = "a file of the shard, of which the cases use what a publish uses")]
mod route;

use std::hint::black_box;
use std::time::Duration;

use fanwire::stdx::clock;
use fanwire::{model, proto};

use cases::Op;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH_COUNT: usize = 30;
/// Long enough for the clock's own cost and resolution not to count.
const BATCH_DURATION_MIN: Duration = Duration::from_millis(5);

macro_rules! report_all {
    ($($name:ident = $make:path;)*) => {
        fn report_all(is_wanted: impl Fn(&str) -> bool) {
            $(if is_wanted(stringify!($name)) {
                report(stringify!($name), cases::warm($make));
            })*
        }
    };
}

with_cases!(report_all);

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    println!("{:<26}{:>12}{:>12}", "ns per operation", "fastest", "median");
    report_all(|name| wanted.is_empty() || wanted.iter().any(|part| name.contains(part)));
}

fn report(name: &str, mut op: Op) {
    let mut count = 1;
    while batch(&mut op, count) < BATCH_DURATION_MIN {
        count *= 2;
    }
    let mut times: Vec<f64> = (0..BATCH_COUNT)
        .map(|_| batch(&mut op, count).as_secs_f64() * 1e9 / f64::from(count))
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{name:<26}{:>12.1}{:>12.1}", times[0], times[BATCH_COUNT / 2]);
}

fn batch(op: &mut Op, count: u32) -> Duration {
    let began = clock::now();
    for _ in 0..count {
        black_box(op());
    }
    clock::now() - began
}
