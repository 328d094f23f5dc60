//! The broker against a raw `send()` loop: CPU per delivery of both, and their ratio.
//!
//! Both servers run as processes pinned to one CPU, the client on another; both hold as many
//! sockets, send frames of the same size, and are measured alternately in the same run, so that
//! what the machine does to one it does to the other. CPU is the server process's own run time
//! (`/proc/PID/task/*/schedstat`, nanoseconds) over deliveries that the client has counted, byte
//! for byte. Judge the ratio, never the times.
//!
//! `cargo bench --bench floor -- [paced|flat] [--subscribers N] [--pairs N] [--messages N]
//! [--size BYTES] [--driver uring|epoll] [--send ring|direct]`

#![expect(clippy::print_stdout, reason = "a bench's figures are its output")]

mod client;
mod cpu;
mod raw;
mod settings;
mod statistics;

use std::process::ExitCode;

use client::{Broker, Raw, Target};
use settings::{Mode, Settings};
use statistics::Summary;

fn main() -> ExitCode {
    let settings = match Settings::parse(std::env::args().skip(1)) {
        Ok(settings) => settings,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::FAILURE;
        }
    };
    if settings.is_raw_server {
        raw::serve(settings.mode);
        return ExitCode::SUCCESS;
    }
    println!(
        "{:?}: {} subscribers, {} pairs of {} messages, {}-byte payloads, driver {}, send {}",
        settings.mode,
        settings.subscriber_count,
        settings.pair_count,
        settings.message_count,
        settings.payload_size,
        settings.driver,
        settings.send,
    );
    cpu::pin_self(cpu::CLIENT_CPU);
    let mut broker = Broker::start(&settings);
    let mut raw = Raw::start(&settings, broker.frame_size());
    run(&settings, &mut broker, &mut raw);
    ExitCode::SUCCESS
}

fn run(settings: &Settings, broker: &mut Broker, raw: &mut Raw) {
    let deliveries = settings.subscriber_count * settings.message_count;
    // One pair warms both up and is not counted.
    broker.publish(settings.message_count);
    raw.publish(settings.message_count);
    let mut ratios = Vec::new();
    let mut rates = Vec::new();
    for pair in 1..=settings.pair_count {
        // The order changes from pair to pair, so that neither always runs on the other's heels.
        let (of_broker, of_raw) = if pair % 2 == 0 {
            let of_raw = measure(raw, settings);
            (measure(broker, settings), of_raw)
        } else {
            (measure(broker, settings), measure(raw, settings))
        };
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        let per_delivery = |ns: u64| ns as f64 / deliveries as f64;
        let ratio = per_delivery(of_broker) / per_delivery(of_raw);
        ratios.push(ratio);
        rates.push(1e3 / per_delivery(of_broker));
        println!(
            "pair {pair:>3}: broker {:>7.1} ns/delivery ({:>6.2} M/s of CPU), raw {:>7.1} ns, ratio {ratio:.3}",
            per_delivery(of_broker),
            1e3 / per_delivery(of_broker),
            per_delivery(of_raw),
        );
    }
    println!("ratio      {}", Summary::of(&ratios));
    println!("M deliveries per CPU second of the broker: {}", Summary::of(&rates));
    if settings.mode == Mode::Flat {
        println!("(the raw loop's sends are coalesced as far as the socket takes them)");
    }
}

/// CPU time in nanoseconds that one round cost the server.
fn measure(target: &mut dyn Target, settings: &Settings) -> u64 {
    let before = cpu::run_time_ns(target.pid());
    target.publish(settings.message_count);
    cpu::run_time_ns(target.pid()) - before
}
