//! What the standard library lacks: the one clock, the slab, the timer wheel, rates. Knows nothing of Fanwire.

pub mod clock;
pub mod random;
pub mod rate;
pub mod slab;
pub mod wheel;
