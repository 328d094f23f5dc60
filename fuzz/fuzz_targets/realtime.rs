//! Fuzzes `proto::realtime`'s parsers; see checks/realtime.rs for what is checked.
#![no_main]

#[path = "../checks/realtime.rs"]
mod check;
#[path = "../checks/fields.rs"]
mod fields;
#[path = "../checks/objects.rs"]
mod objects;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));
