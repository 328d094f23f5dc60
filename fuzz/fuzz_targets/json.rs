//! Fuzzes `proto::json`; see checks/json.rs for what is checked.
#![no_main]

#[path = "../checks/json.rs"]
mod check;
#[path = "../checks/objects.rs"]
mod objects;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));
