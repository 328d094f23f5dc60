//! Fuzzes `model::pattern`; see checks/pattern.rs for what is checked.
#![no_main]

#[path = "../checks/pattern.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));
