//! Load test: placeholder until its first file lands.
fn main() {}
