//! Fuzzes `proto::proxy`; see checks/proxy.rs for what is checked.
#![no_main]

#[path = "../checks/proxy.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));
