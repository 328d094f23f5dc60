//! Fuzzes `proto::native`'s bodies; see checks/native.rs for what is checked.
#![no_main]

#[path = "../checks/native.rs"]
mod check;
#[path = "../checks/fields.rs"]
mod fields;
#[path = "../checks/objects.rs"]
mod objects;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));
