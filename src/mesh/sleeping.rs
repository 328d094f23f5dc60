//! The flag by which a producer knows whether its target has to be woken.
//!
//! Invariants, proved by `tests/loom.rs`, which compiles this file with loom's atomics
//! - If the owner raises the flag, finds nothing and parks, whoever pushes afterwards is told to
//!   wake it: either the owner's look sees the push, or the producer sees the flag.
//! - Each raising tells at most one producer.
//!
//! Every write is a swap. For loom a plain store and another thread's swap have no order, so that it
//! would let a producer read its own older write in place of the owner's newer one, which the memory
//! model's one modification order per atomic rules out. The price is two locked writes per park.

use super::atomic::{AtomicBool, Ordering, fence};

/// Whether a thread sleeps, or is about to.
#[derive(Debug)]
pub(super) struct Sleeping(AtomicBool);

impl Sleeping {
    /// The flag of a thread that is busy.
    pub(super) fn new() -> Sleeping {
        Sleeping(AtomicBool::new(false))
    }

    /// Owner: about to park. It looks for work once more after this.
    pub(super) fn raise(&self) {
        self.0.swap(true, Ordering::Relaxed);
        // Pairs with the fence in `take_down`: of the two threads at least one sees what the other
        // wrote before its fence.
        fence(Ordering::SeqCst);
    }

    /// Owner: not parked (any more).
    pub(super) fn lower(&self) {
        self.0.swap(false, Ordering::Relaxed);
    }

    /// Producer, after a push: whether this call found the flag up and took it down.
    pub(super) fn take_down(&self) -> bool {
        fence(Ordering::SeqCst);
        // The load keeps the flag's cache line shared while the owner is busy.
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}
