//! What the parts of a publish and a delivery cost, in instructions: the same on every machine of one
//! architecture, whatever else runs.
//!
//! `cargo bench --bench micro [-- FILTER]` needs valgrind, and the runner of the version that
//! Cargo.toml names: `cargo install gungraun-runner --version 0.20.0`. Without them use
//! `cargo bench --bench micro_time`, the same cases in nanoseconds.
//!
//! Each case is run once, warm, under callgrind. `Instructions` stands left for this run, right for
//! the run before (kept in `target/gungraun`), with the change between them. It counts one
//! operation whole; where a name ends in a number, as `fan_out_1000`, divide by that for the cost of
//! one delivery, message or parcel. About 10 instructions of each are the call itself. What the
//! figures leave out is the kernel: no case sends, and the eventfd write of `mesh_wake` counts as
//! the instructions that make the call. Of two versions the one with fewer instructions is faster
//! only if it does not wait longer for memory; the floor bench and the load test have the last word.

#![expect(missing_docs, reason = "gungraun's macros make modules and functions public")]

mod cases;
#[path = "../../src/shard/outbound.rs"]
#[expect(dead_code, reason = "a file of the shard, of which the cases use what a fan-out uses")]
mod outbound;
#[path = "../../src/shard/dispatch/route.rs"]
#[expect(dead_code, reason = "a file of the shard, of which the cases use what a publish uses")]
mod route;

use std::hint::black_box;

// What those files mean by `crate::model` and `crate::proto`.
use fanwire::{model, proto};
use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind};

use cases::Op;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

macro_rules! benches {
    ($($name:ident = $make:path;)*) => {
        #[library_benchmark]
        $(#[bench::$name(cases::warm($make))])*
        fn op(mut op: Op) -> Op {
            black_box(op());
            // Given back, so that dropping it is not counted.
            op
        }
    };
}

with_cases!(benches);

/// Large copies run as `rep movsb` and `rep stosb`, of which valgrind counts every byte as an
/// instruction; with these thresholds they run as vector moves.
const NO_REPEATED_MOVES: &str =
    "glibc.cpu.x86_rep_movsb_threshold=1000000000:glibc.cpu.x86_rep_stosb_threshold=1000000000";

library_benchmark_group!(name = micro, benchmarks = [op]);

main!(
    config = LibraryBenchmarkConfig::default()
        .tool(Callgrind::default().format([EventKind::Ir]))
        .env("GLIBC_TUNABLES", NO_REPEATED_MOVES),
    library_benchmark_groups = micro
);
