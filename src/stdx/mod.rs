//! What the standard library lacks: the one clock, the slab, the timer wheel. Knows nothing of Fanwire.

pub mod clock;
pub mod random;
pub mod slab;
pub mod wheel;
