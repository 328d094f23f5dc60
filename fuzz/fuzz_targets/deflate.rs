//! Fuzzes `proto::ws::{Deflater, Inflater}`; see checks/deflate.rs for what is checked.
#![no_main]

#[path = "../checks/deflate.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));
