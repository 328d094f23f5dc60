//! A memory limit (cgroup), and more published than fits: history stays within its budget, the oldest goes
//! and is told as lost, and nobody is cut off.
//!
//! Needs the right to make a memory cgroup, of version 2 or 1; without it the test prints `skipped: …` and
//! passes, unless `FANWIRE_REQUIRE_ALL=1`.

mod support;

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use support::{Setup, json, post};

const MIB: u64 = 1 << 20;
/// What all of the broker may take, kernel memory included.
const LIMIT: u64 = 96 * MIB;
const HISTORY_MAX: u64 = 24 * MIB;
const PAYLOAD_SIZE: usize = 16 << 10;
/// Twice the limit.
const MESSAGE_COUNT: usize = 2 * 96 * 64;

/// A memory cgroup of the test's own.
struct Group {
    path: PathBuf,
    is_second: bool,
}

impl Group {
    /// With the limit set; `None` where that is not allowed.
    fn new(limit: u64) -> Option<Group> {
        let name = format!("fanwire-test-{}", std::process::id());
        let roots = [("/sys/fs/cgroup", true), ("/sys/fs/cgroup/memory", false)];
        roots.into_iter().find_map(|(root, is_second)| {
            let file = if is_second { "memory.max" } else { "memory.limit_in_bytes" };
            let path = PathBuf::from(root).join(&name);
            fs::create_dir(&path).ok()?;
            let group = Group { path, is_second };
            let is_set = group.path.join(file).exists()
                && fs::write(group.path.join(file), limit.to_string()).is_ok();
            is_set.then_some(group)
        })
    }

    fn add(&self, process: u32) {
        fs::write(self.path.join("cgroup.procs"), process.to_string()).expect("root may");
    }

    /// How often the kernel ended a process for the limit.
    fn kills(&self) -> u64 {
        let file = if self.is_second { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(self.path.join(file)).expect("the group is there");
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.trim().parse().ok()).expect("a number")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
    }
}

fn payload(number: usize) -> String {
    format!("{number:0PAYLOAD_SIZE$}")
}

#[test]
fn history_stays_within_a_memory_limit() {
    let Some(group) = Group::new(LIMIT) else {
        assert!(std::env::var_os("FANWIRE_REQUIRE_ALL").is_none_or(|v| v != "1"), "no cgroup");
        eprintln!("skipped: no memory cgroup can be made here");
        return;
    };
    for driver in ["uring", "epoll"] {
        let mut broker = Setup::new(driver, 2)
            .with("HISTORY_MEMORY_MAX", HISTORY_MAX.to_string())
            .with("SERVER_STOP_TIMEOUT", "30s")
            .start();
        group.add(broker.id());
        let mut subscriber = broker.websocket();
        subscriber.subscribe("live");
        let mut publisher = broker.http();
        let first = post(&mut publisher, "/v1/demo/topics/topic-0", payload(0).as_bytes());
        let first = json(&first.body)["position"].as_str().expect("a position").to_owned();
        for number in 1..MESSAGE_COUNT {
            let target = format!("/v1/demo/topics/topic-{}", number % 50);
            assert_eq!(post(&mut publisher, &target, payload(number).as_bytes()).status, 200);
            if number % 1024 == 0 {
                post(&mut publisher, "/v1/demo/topics/live", number.to_string().as_bytes());
                assert_eq!(subscriber.value()["data"], number.to_string());
            }
        }
        let kept = broker.metrics().sum("fanwire_history_bytes", &[]);
        let budget = u32::try_from(HISTORY_MAX).map(f64::from).expect("it fits");
        assert!(kept > budget / 2.0 && kept <= budget, "{kept} bytes are kept");
        let target = format!("/v1/demo/history?topic=topic-0&limit=1&after={first}");
        let page = json(publisher.request("GET", &target, &[], b"").body);
        assert!(!page["lost"].is_null(), "what had to go is told");
        let newest = format!("/v1/demo/topics/topic-{}", (MESSAGE_COUNT - 1) % 50);
        let newest = publisher.request("GET", &newest, &[], b"");
        assert!(json(newest.body)["data"] == payload(MESSAGE_COUNT - 1), "the newest is kept");
        drop((subscriber, publisher));
        broker.signal(Signal::TERM);
        assert!(broker.wait().success());
    }
    assert_eq!(group.kills(), 0);
}
