//! The only crossing between threads: per target one bounded lock-free queue and one wake.
//!
//! Data flow: a producer stages parcels during its turn; once per turn all that is staged for one
//! target travels as one batch. A target that is about to park raises its sleeping flag; whoever
//! takes the flag down writes its eventfd, so there is one wake per idle-to-busy transition.
//!
//! Invariants
//! - A lane (one producer, one target) keeps order.
//! - Nothing staged is lost: a full queue leaves the batch with its producer, in order. The
//!   producer's backlog is limited in bytes by who stages (`Port::has_room`), not here.

mod port;
mod sleeping;
mod wake;

// `sleeping` takes its atomics from the module above it, so that tests/loom.rs can give it loom's.
use std::sync::atomic;

pub use port::{Batch, Port, ports};
pub use wake::Wake;
