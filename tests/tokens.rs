//! Tokens at an application's door: whose are taken, what they must say, what is remembered.
//!
//! `vectors` holds tokens made by others against ours, `claims` what a rightly signed token may say,
//! `keys` which key is asked, `memory` the cache and revocations, `tools` the operator's minting and
//! explaining.

#[path = "tokens/claims.rs"]
mod claims;
#[path = "tokens/door.rs"]
mod door;
#[path = "tokens/keys.rs"]
mod keys;
#[path = "tokens/memory.rs"]
mod memory;
#[path = "tokens/tools.rs"]
mod tools;
#[path = "tokens/vectors.rs"]
mod vectors;
