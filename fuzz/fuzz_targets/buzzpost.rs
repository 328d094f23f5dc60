//! Fuzzes `proto::buzzpost`'s publish; see checks/buzzpost.rs for what is checked.
#![no_main]

#[path = "../checks/buzzpost.rs"]
mod check;
#[path = "../checks/fields.rs"]
mod fields;
#[path = "../checks/objects.rs"]
mod objects;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));
