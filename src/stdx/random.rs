//! Random words from the operating system.

/// 64 random bits.
///
/// # Panics
/// When the system has no random bits to give, with which no secret could be made.
pub fn word() -> u64 {
    getrandom::u64().expect("the operating system gives random bits")
}
