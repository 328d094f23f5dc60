//! Fuzzes cursors, connection ids and topic names; see checks/names.rs for what is checked.
#![no_main]

#[path = "../checks/names.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));
