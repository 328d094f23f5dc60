//! The numbers of refusals, closes and failed starts: what the program says of them is what the page
//! documents, and what it logs when it cannot start.

mod support;

use std::process::{Command, Output};

use fanwire::model::code::{self, StartFailure};
use support::Setup;

const PAGE: &str = include_str!("../CODES.md");

fn help(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanwire"));
    command.arg("help").args(arguments).output().expect("the binary runs")
}

#[test]
fn the_page_is_what_the_program_prints() {
    let printed = help(&["--markdown"]);
    assert!(printed.status.success());
    let printed = String::from_utf8(printed.stdout).expect("UTF-8");
    assert_eq!(printed, PAGE, "write it anew: fanwire help --markdown > CODES.md");
}

#[test]
fn every_code_is_explained_by_its_number() {
    for code in code::all() {
        let output = help(&[&code.number.to_string()]);
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(output.status.success() && text.contains(code.advice), "{code:?}: {text}");
    }
    let output = help(&["unheard_of"]);
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("fanwire: no code"));
}

#[test]
fn a_failed_start_names_its_number() {
    let first = Setup::new("epoll", 1).start();
    let address = first.address.to_string();
    let missing = "/no/such/folder/store.db";
    let cases = [
        (Setup::new("epoll", 1).listen(&address), StartFailure::Address),
        (Setup::new("epoll", 1).with("ADMIN_LISTEN", address.clone()), StartFailure::AdminAddress),
        (Setup::new("epoll", 1).with("STORE_PATH", missing), StartFailure::Store),
        (Setup::new("epoll", 1).with("LOG_FORMAT", "yaml"), StartFailure::Configuration),
    ];
    for (setup, failure) in cases {
        let (status, log) = setup.try_start().expect_err("it cannot start");
        assert_eq!(status.code(), Some(1));
        let said = format!("`fanwire help {}`", failure.number());
        assert!(log.contains(&said), "{failure:?}: {log}");
    }
}
