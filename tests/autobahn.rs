//! Conformance: the Autobahn fuzzing client against an echo server on the production codec.
//!
//! The suite needs Python 2.7 and comes from `PyPI` into a virtualenv under `target/`, once. Where
//! either cannot be had the test prints `skipped: …` and passes, unless `FANWIRE_REQUIRE_ALL=1`.
//! `FANWIRE_FULL=1` runs every case of 12.* and 13.* (1,000 messages each, some of 128 KiB) instead
//! of the first of each group.

#[path = "autobahn/child.rs"]
mod child;
#[path = "autobahn/echo.rs"]
mod echo;
#[path = "autobahn/report.rs"]
mod report;
#[path = "autobahn/suite.rs"]
mod suite;

use echo::Echo;
use suite::Suite;

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| value == "1")
}

#[test]
fn the_codec_passes_the_autobahn_suite() {
    let suite = match Suite::find_or_install() {
        Ok(suite) => suite,
        Err(why) => {
            assert!(!is_set("FANWIRE_REQUIRE_ALL"), "the Autobahn suite is required: {why}");
            println!("skipped: the Autobahn suite cannot be had: {why}");
            return;
        }
    };
    let echo = Echo::start();
    let index = suite.run(echo.port(), is_set("FANWIRE_FULL"));
    echo.stop();
    let verdict = report::judge(&index.expect("the suite runs to its end"));
    let passed = verdict.unwrap_or_else(|faults| panic!("{}", faults.join("\n")));
    let least = suite::cases_count_min(is_set("FANWIRE_FULL"));
    assert!(passed >= least, "only {passed} cases ran, where {least} were asked for");
    println!("{passed} cases passed");
}
