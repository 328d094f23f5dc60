//! The checker against a broker that spoils one thing: every spoilt run must fail, with the right
//! verdict, and every correct one must pass. All through the real binary.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod saboteur;

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::Command;

use saboteur::{Sabotage, Saboteur};
use serde_json::Value;

struct Outcome {
    status: i32,
    report: Value,
    text: String,
}

fn run(broker: &Saboteur, scenario: &str, more: &[&str]) -> Outcome {
    let name = format!("loadtest-{}-{}.json", std::process::id(), broker.port);
    let path: PathBuf = std::env::temp_dir().join(name);
    let output = Command::new(env!("CARGO_BIN_EXE_fanwire-loadtest"))
        .arg(scenario)
        .args(["--url", &format!("http://127.0.0.1:{}", broker.port)])
        .args(["--json", path.to_str().unwrap()])
        .args(["--subscribers", "12", "--rate", "100", "--warmup", "0.1", "--duration", "0.4"])
        .args(["--grace", "0.7", "--connect-rate", "500"])
        .args(more)
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let json = std::fs::read(&path).unwrap_or_default();
    // Absent when the run could not be done; then the text tells.
    let _ = std::fs::remove_file(&path);
    let report = serde_json::from_slice(&json).unwrap_or(Value::Null);
    Outcome { status: output.status.code().unwrap(), report, text }
}

const KINDS: [&str; 8] =
    ["gap", "missing", "duplicate", "reorder", "corrupt", "alien", "refused", "disconnected"];

/// Runs against a sabotage and expects exactly these violations, all others being zero.
#[track_caller]
fn check(sabotage: Sabotage, more: &[&str], expected: &[(&str, u64)]) -> Outcome {
    let broker = Saboteur::start(sabotage);
    let outcome = run(&broker, "fanout", more);
    let violations = &outcome.report["tally"]["violations"];
    let found: Vec<(&str, u64)> = KINDS
        .into_iter()
        .map(|kind| (kind, violations[kind].as_u64().unwrap_or(u64::MAX)))
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(found, expected, "{sabotage:?} {more:?}\n{}", outcome.text);
    assert_eq!(outcome.status, i32::from(!expected.is_empty()), "{}", outcome.text);
    assert_eq!(outcome.report["passed"], expected.is_empty());
    outcome
}

const DOORS: [&str; 4] = ["ws", "sse", "sse-raw", "buzz"];

/// Runs spend most of their time waiting, so the doors are tried side by side.
fn on_every_door(test: impl Fn(&str) + Sync) {
    std::thread::scope(|scope| {
        for door in DOORS {
            let test = &test;
            scope.spawn(move || test(door));
        }
    });
}

#[test]
fn a_correct_broker_passes_on_every_door() {
    on_every_door(|door| {
        for publish_door in ["native", "batch", "realtime", "buzz"] {
            let outcome = check(
                Sabotage::None,
                &["--door", door, "--publish-door", publish_door, "--processes", "2"],
                &[],
            );
            let tally = &outcome.report["tally"];
            assert_eq!(tally["expected"], tally["delivered"]);
            assert_eq!(tally["expected"], 50 * 12, "{door} {publish_door}: {}", outcome.text);
        }
    });
}

#[test]
fn every_sabotage_of_one_delivery_is_seen_on_every_door() {
    on_every_door(|door| {
        let door = &["--door", door][..];
        check(Sabotage::Drop(20), door, &[("gap", 1)]);
        check(Sabotage::Drop(0), door, &[("gap", 1)]);
        check(Sabotage::DropFrom(49), door, &[("missing", 1)]);
        check(Sabotage::DropFrom(0), door, &[("missing", 50)]);
        check(Sabotage::Double(20), door, &[("duplicate", 1)]);
        check(Sabotage::Double(49), door, &[("duplicate", 1)]);
        check(Sabotage::DoubleLate(20), door, &[("duplicate", 1)]);
        check(Sabotage::Swap(20), door, &[("reorder", 1)]);
        check(Sabotage::Swap(0), door, &[("reorder", 1)]);
        // A message that cannot be read is damage, and the one it should have been is lost.
        check(Sabotage::CorruptPayload(20), door, &[("gap", 1), ("corrupt", 1)]);
    });
}

#[test]
fn a_spoilt_envelope_is_seen() {
    for door in ["ws", "sse"] {
        let door = &["--door", door][..];
        check(Sabotage::CorruptEnvelope(20), door, &[("gap", 1), ("corrupt", 1)]);
        check(Sabotage::CorruptTopic(20), door, &[("gap", 1), ("alien", 1)]);
    }
}

#[test]
fn outcomes_of_publishes_decide_what_is_owed() {
    for door in ["ws", "sse"] {
        let door = &["--door", door][..];
        let outcome = check(Sabotage::Refuse(20), door, &[]);
        assert_eq!(outcome.report["publish"]["refused"], 1);
        assert_eq!(outcome.report["tally"]["expected"], 49 * 12);
        check(Sabotage::RefuseAndDeliver(20), door, &[("refused", 12)]);
        for sabotage in [Sabotage::Mute(20), Sabotage::MuteAndDrop(20)] {
            let outcome = check(sabotage, door, &[]);
            assert_eq!(outcome.report["publish"]["unknown"], 1, "{}", outcome.text);
        }
    }
}

#[test]
fn the_first_violation_is_named() {
    let outcome = check(Sabotage::Drop(20), &["--door", "ws"], &[("gap", 1)]);
    let example = &outcome.report["tally"]["examples"][0];
    assert_eq!((&example["kind"], &example["sequence"]), (&"gap".into(), &20.into()));
    assert!(outcome.text.contains("message 20"), "{}", outcome.text);
}

#[test]
fn a_closed_subscriber_is_a_failure() {
    for door in ["ws", "sse"] {
        let outcome = check(
            Sabotage::Disconnect(20),
            &["--door", door],
            &[("missing", 30), ("disconnected", 1)],
        );
        assert!(outcome.text.contains("disconnected: subscriber"), "{}", outcome.text);
    }
}

#[test]
fn many_topics_are_told_apart() {
    let more = ["--topics", "5", "--topics-per-subscriber", "3"];
    for door in DOORS {
        let broker = Saboteur::start(Sabotage::None);
        let outcome = run(&broker, "topics", &[&more[..], &["--door", door]].concat());
        assert_eq!(outcome.status, 0, "{}", outcome.text);
        // 50 messages over 5 topics; 12 subscribers of 3 topics each.
        assert_eq!(outcome.report["tally"]["delivered"], 10 * 36, "{}", outcome.text);
    }
    let broker = Saboteur::start(Sabotage::Swap(30));
    let outcome = run(&broker, "topics", &more);
    assert_eq!(outcome.status, 1, "{}", outcome.text);
    assert_eq!(outcome.report["tally"]["violations"]["reorder"], 1, "{}", outcome.text);
}

#[test]
fn pings_are_answered() {
    let broker = Saboteur::start(Sabotage::None);
    assert_eq!(run(&broker, "fanout", &[]).status, 0);
    assert_eq!(broker.pongs(), 12);
}

/// A storm of 12 over 6 established; sockets 0 to 5 are the established ones'.
fn storm(sabotage: Sabotage, ratio_max: &str) -> (Outcome, Vec<String>) {
    let broker = Saboteur::start(sabotage);
    let key = broker.key_file();
    let storm = ["--established", "6", "--quiet", "0.5", "--ratio-max", ratio_max];
    let key_file = ["--key-file", key.to_str().unwrap(), "--connect-timeout", "0.5"];
    // A busy test machine must not excuse the broker.
    let outcome = run(&broker, "storm", &[&storm[..], &key_file, &["--lag-limit", "999"]].concat());
    std::fs::remove_file(&key).unwrap();
    (outcome, broker.tokens())
}

#[test]
fn every_connection_of_a_storm_has_the_token_it_should_have() {
    let (outcome, tokens) = storm(Sabotage::None, "999");
    assert_eq!((outcome.status, tokens.len()), (0, 6 + 3 * 12), "{}", outcome.text);
    let set = |range: std::ops::Range<usize>| tokens[range].iter().collect::<HashSet<_>>();
    let (established, first) = (set(0..6), set(6..18));
    let (again, fresh) = (set(18..30), set(30..42));
    assert_eq!((established.len(), first.len(), fresh.len()), (6, 12, 12));
    assert_eq!(first, again);
    assert!(first.is_disjoint(&fresh) && established.is_disjoint(&first));
    assert!(tokens.iter().all(|token| token.split('.').count() == 3), "{tokens:?}");
    assert!(!outcome.text.contains(tokens[0].as_str()), "a token is shown");
}

#[test]
fn a_storm_with_one_bad_connection_is_not_weathered() {
    // The seventh of the second gathering.
    for (sabotage, words) in [
        (Sabotage::RefuseToken(24), "before its welcome: the server answered 401"),
        (Sabotage::Stall(24), "before its welcome: the welcome did not come in time"),
        (Sabotage::CloseWelcomed(24), "after its welcome: the server closed the connection"),
    ] {
        let (outcome, _) = storm(sabotage, "999");
        assert_eq!(outcome.status, 1, "{sabotage:?}: {}", outcome.text);
        let phases = outcome.report["storm"]["phases"].as_array().unwrap();
        let errors: Vec<_> = phases.iter().map(|p| p["errors"].as_u64().unwrap()).collect();
        // What closes after the gathering is complete counts in the next.
        let expected: &[[u64; 5]] = match sabotage {
            Sabotage::CloseWelcomed(_) => &[[0, 0, 1, 0, 0], [0, 0, 0, 1, 0]],
            _ => &[[0, 0, 1, 0, 0]],
        };
        assert!(expected.iter().any(|e| errors == e), "{sabotage:?}: {}", outcome.text);
        let failures = outcome.report["failures"].to_string();
        assert!(failures.contains("1 errors, 12 connects; member "), "{failures}");
        assert!(failures.contains(words), "{failures}");
        assert!(outcome.report["tally"]["violations"]["missing"] == 0, "{}", outcome.text);
    }
}

#[test]
fn a_storm_that_slows_deliveries_is_not_weathered() {
    // More than the established and one publisher: the crowd is there.
    let (outcome, _) = storm(Sabotage::Sluggish(6), "3");
    assert_eq!(outcome.status, 1, "{}", outcome.text);
    let failures = outcome.report["failures"].to_string();
    assert!(failures.contains("while connections came: p99 of delivery"), "{failures}");
    assert!(failures.contains("times its quiet"), "{failures}");
}

#[test]
fn what_the_established_lose_in_a_storm_is_seen() {
    let (outcome, _) = storm(Sabotage::Drop(70), "999");
    assert_eq!(outcome.status, 1, "{}", outcome.text);
    assert_eq!(outcome.report["tally"]["violations"]["gap"], 1, "{}", outcome.text);
}

/// Two drops of a crowd of 12 on two topics each, beside 4 bystanders.
fn recover(sabotage: Sabotage, more: &[&str]) -> Outcome {
    let broker = Saboteur::start(sabotage);
    let crowd = ["--established", "4", "--topics", "2", "--topics-per-subscriber", "2"];
    let storm = ["--quiet", "0.4", "--jitter", "0.3", "--cuts", "2", "--ratio-max", "999"];
    // A busy test machine must not excuse the broker.
    run(&broker, "recover", &[&crowd[..], &storm, &["--lag-limit", "999"], more].concat())
}

#[test]
fn a_crowd_that_returns_has_everything_once_whatever_its_doors() {
    for doors in ["ws,sse", "sse-raw,buzz", "ws"] {
        for drop in ["reset", "close"] {
            let outcome = recover(Sabotage::None, &["--crowd-doors", doors, "--drop", drop]);
            assert_eq!(outcome.status, 0, "{doors}: {}", outcome.text);
            let (tally, publish) = (&outcome.report["tally"], &outcome.report["publish"]);
            assert_eq!(tally["expected"], publish["accepted"].as_u64().unwrap() * 16);
            assert_eq!(tally["expected"], tally["delivered"]);
            let rounds = outcome.report["recover"]["rounds"].as_array().unwrap();
            assert_eq!(rounds.len(), 2);
            for round in rounds {
                assert_eq!((&round["dropped"], &round["back"]), (&12.into(), &12.into()));
                assert!(round["all_back_s"].as_f64().unwrap() >= 0.1, "{round}");
                // WebSockets spread over the jitter window, streams wait what the server says.
                let window_s = round["window_s"].as_f64().unwrap();
                assert!((0.149..0.3).contains(&window_s), "{round}");
                let sockets = match doors {
                    "ws" => 12,
                    "ws,sse" => 6,
                    _ => 0,
                };
                let brought = &round["brought"];
                assert_eq!(
                    (&brought["recovered"], &brought["lost"]),
                    (&(sockets * 2).into(), &0.into())
                );
                assert_eq!(brought["messages"].as_u64() > Some(0), sockets > 0, "{round}");
            }
        }
    }
}

#[test]
fn a_crowd_that_does_not_get_what_it_missed_fails_the_run() {
    // The seventh return, on each door of its own.
    for door in ["ws", "sse"] {
        let more = ["--crowd-doors", door];
        let kinds = |outcome: &Outcome| {
            let violations = &outcome.report["tally"]["violations"];
            let count = |kind: &&str| violations[*kind].as_u64() > Some(0);
            KINDS.into_iter().filter(count).collect::<Vec<_>>()
        };
        let spoilt: [(Sabotage, &[&str]); 3] = [
            (Sabotage::Forget(6), &["gap"]),
            (Sabotage::Repeat(6), &["duplicate"]),
            (Sabotage::Scramble(6), &["reorder"]),
        ];
        for (sabotage, expected) in spoilt {
            let outcome = recover(sabotage, &more);
            assert_eq!(outcome.status, 1, "{door} {sabotage:?}: {}", outcome.text);
            assert_eq!(kinds(&outcome), expected, "{door} {sabotage:?}: {}", outcome.text);
        }
    }
}

#[test]
fn a_loss_that_is_told_fails_the_run_unless_it_is_allowed() {
    for door in ["ws", "sse"] {
        let outcome = recover(Sabotage::TellLost(6), &["--crowd-doors", door]);
        let tally = &outcome.report["tally"];
        assert_eq!(outcome.status, 1, "{door}: {}", outcome.text);
        assert_eq!((&tally["told_lost"], &tally["violations"]["gap"]), (&1.into(), &0.into()));
        let failures = outcome.report["failures"].to_string();
        assert!(failures.contains("were told that messages are lost, 1 deliveries"), "{failures}");
        let more = ["--crowd-doors", door, "--allow-lost"];
        let outcome = recover(Sabotage::TellLost(6), &more);
        assert_eq!(outcome.status, 0, "{door}: {}", outcome.text);
        // To be silent about it is no way to have it allowed.
        let outcome = recover(Sabotage::Forget(6), &more);
        assert_eq!(outcome.status, 1, "{door}: {}", outcome.text);
    }
}

#[test]
fn a_return_that_is_put_off_is_tried_again() {
    for door in ["ws", "sse"] {
        let outcome = recover(Sabotage::PutOff(6), &["--crowd-doors", door]);
        assert_eq!(outcome.status, 0, "{door}: {}", outcome.text);
        let rounds = outcome.report["recover"]["rounds"].as_array().unwrap();
        let refused: u64 = rounds.iter().map(|round| round["refused"].as_u64().unwrap()).sum();
        assert_eq!(refused, 1, "{door}: {}", outcome.text);
    }
}

#[test]
fn a_crowd_of_which_some_never_return_fails_the_run() {
    let outcome = recover(Sabotage::PutOffFrom(3), &["--crowd-doors", "ws"]);
    assert_eq!(outcome.status, 1, "{}", outcome.text);
    let failures = outcome.report["failures"].to_string();
    assert!(failures.contains("drop 1: 3 of 12 came back; member "), "{failures}");
    assert!(
        outcome.report["tally"]["violations"]["missing"].as_u64() > Some(0),
        "{}",
        outcome.text
    );
}
