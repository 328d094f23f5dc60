//! Waking a parked thread: a sleeping flag and an eventfd.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

use super::sleeping::Sleeping;

/// One thread's wake. The owner parks on `fd` edge-triggered and never reads it: each write is an
/// edge, and the counter cannot fill up in the life of a machine.
#[derive(Debug)]
pub struct Wake {
    sleeping: Sleeping,
    fd: OwnedFd,
}

impl Wake {
    /// A wake whose owner is busy.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> std::io::Result<Wake> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Wake { sleeping: Sleeping::new(), fd })
    }

    /// Owner: about to park. Look for work once more after this, then park.
    pub fn set_sleeping(&self) {
        self.sleeping.raise();
    }

    /// Owner: not parked (any more).
    pub fn set_awake(&self) {
        self.sleeping.lower();
    }

    /// Producer, after a push: wakes the owner if it sleeps; whether a write was needed.
    pub fn wake(&self) -> bool {
        let must_write = self.sleeping.take_down();
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
