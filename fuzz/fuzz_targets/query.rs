//! Fuzzes `proto::http1`'s percent-decoding; see checks/query.rs for what is checked.
#![no_main]

#[path = "../checks/query.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));
