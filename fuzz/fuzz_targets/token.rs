//! Fuzzes tokens, claims and key sets; see checks/token.rs for what is checked.
#![no_main]

#[path = "../checks/token.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));
