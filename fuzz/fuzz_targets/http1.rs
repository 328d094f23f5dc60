//! Fuzzes `proto::http1`; see checks/http1.rs for what is checked.
#![no_main]

#[path = "../checks/http1.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));
