//! Waking a parked thread: a sleeping flag and an eventfd.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rustix::event::{EventfdFlags, eventfd};

/// One thread's wake. The owner parks on `fd` edge-triggered and never reads it: each write is an
/// edge, and the counter cannot fill up in the life of a machine.
#[derive(Debug)]
pub struct Wake {
    sleeping: AtomicBool,
    fd: OwnedFd,
}

impl Wake {
    /// A wake whose owner is busy.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> std::io::Result<Wake> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Wake { sleeping: AtomicBool::new(false), fd })
    }

    /// Owner: about to park. Look for work once more after this, then park.
    pub fn set_sleeping(&self) {
        self.sleeping.store(true, Ordering::Relaxed);
        // Pairs with the fence in `wake`: either the owner sees the pushed batch, or the producer
        // sees the flag.
        fence(Ordering::SeqCst);
    }

    /// Owner: not parked (any more).
    pub fn set_awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// Producer, after a push: wakes the owner if it sleeps; whether a write was needed.
    pub fn wake(&self) -> bool {
        fence(Ordering::SeqCst);
        let must_write =
            self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::Relaxed);
        if must_write {
            // Fails only when the counter is at 2⁶⁴−2, and then an edge is pending anyway.
            let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
        }
        must_write
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
