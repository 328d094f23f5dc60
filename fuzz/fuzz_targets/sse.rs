//! Fuzzes server-sent events; see checks/sse.rs for what is checked.
#![no_main]

#[path = "../checks/sse.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));
