//! What the standard library lacks: the one clock, rate limits, the slab, the timer wheel. Knows
//! nothing of Fanwire.

pub mod clock;
pub mod random;
pub mod rate;
pub mod slab;
pub mod wheel;
