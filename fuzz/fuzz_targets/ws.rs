//! Fuzzes `proto::ws::Reader`; see checks/ws.rs for what is checked.
#![no_main]

#[path = "../checks/ws.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));
