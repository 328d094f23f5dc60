//! What the standard library lacks: the one clock, published values, rate limits, the slab, the timer wheel. Knows
//! nothing of Fanwire.

pub mod clock;
pub mod published;
pub mod random;
pub mod rate;
pub mod slab;
pub mod wheel;
