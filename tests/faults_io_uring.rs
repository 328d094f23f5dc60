//! A kernel, container or host policy that refuses io_uring: epoll serves, and the log says why once.

mod support;

use rustix::io::Errno;
use support::filter::{filtered, refusing};
use support::{Broker, Setup};

const RING_CALLS: [&str; 3] = ["io_uring_setup", "io_uring_enter", "io_uring_register"];

/// What a host without io_uring says, and one that forbids it (`kernel.io_uring_disabled`, containers).
const REFUSALS: [(Errno, &str); 2] =
    [(Errno::NOSYS, "Function not implemented"), (Errno::PERM, "Operation not permitted")];

fn started(setup: &Setup, refusal: Errno) -> Result<Broker, String> {
    let filter = refusing(&RING_CALLS, refusal.raw_os_error());
    filtered(&filter, || setup.try_start()).map_err(|(status, log)| {
        assert_eq!(status.code(), Some(1), "{log}");
        log
    })
}

#[test]
fn auto_falls_back_to_epoll_and_says_so_once() {
    for (refusal, reason) in REFUSALS {
        let broker = started(&Setup::new("auto", 3), refusal).expect("epoll is enough");
        broker.await_log_times("driver=epoll", 3);
        let log = broker.log();
        let said: Vec<_> = log.lines().filter(|line| line.contains("io_uring")).collect();
        assert_eq!(said.len(), 1, "{log}");
        let line = said[0];
        for part in ["WARN", "io_uring cannot be had here; using epoll", reason] {
            assert!(line.contains(part), "{part} in {line}");
        }
        broker.check_every_shard_delivers();
    }
}

#[test]
fn who_demands_io_uring_is_told_what_to_do() {
    for (refusal, reason) in REFUSALS {
        let log = started(&Setup::new("uring", 2), refusal).expect_err("it was demanded");
        for part in ["ERROR", "io_uring cannot be had here", reason, "--driver epoll"] {
            assert!(log.contains(part), "{part} in {log}");
        }
        let ring_only = Setup::new("epoll", 1).with("SHARDS_SEND", "ring");
        let log = started(&ring_only, refusal).expect_err("it was demanded");
        for part in ["ERROR", "no io_uring for shards.send = ring", reason, "auto or direct"] {
            assert!(log.contains(part), "{part} in {log}");
        }
    }
}
