//! Counters that all processes of a run see: one page of memory, one row per worker.
//!
//! Workers add, the parent reads. A row is written by one process only, so relaxed atomics do.
//! The page is what makes the closed loop (`flat`) and the live line cheap: no message is needed to
//! know how many deliveries have arrived.
#![expect(unsafe_code, reason = "memory shared between processes has no safe wrapper in std")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most worker processes in one run.
pub const WORKERS_MAX: usize = 64;

/// One worker's counters. All only grow, except those of who is there now.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Row {
    /// Subscribers that are subscribed now.
    pub live: AtomicU64,
    /// Connection attempts begun.
    pub attempts: AtomicU64,
    /// Attempts that ended in an error, a refusal or a timeout.
    pub failures: AtomicU64,
    /// Connections that the server closed or that broke after they were live.
    pub lost: AtomicU64,
    /// Frames delivered.
    pub delivered: AtomicU64,
    /// Bytes received.
    pub bytes: AtomicU64,
    /// Deliveries that were wrong: doubled, out of order, corrupt or alien.
    pub wrong: AtomicU64,
    /// CPU nanoseconds used by the worker's thread.
    pub cpu_ns: AtomicU64,
    /// Times subscribed again after a cut.
    pub reconnects: AtomicU64,
    /// Subscribers cut by us.
    pub cut: AtomicU64,
    /// Cuts done.
    pub cut_rounds: AtomicU64,
    /// A crowd process has signed its tokens.
    pub crowd_ready: AtomicU64,
    /// Crowd members that are welcomed now.
    pub crowd_live: AtomicU64,
    /// Crowd members that failed or were closed, since the run began.
    pub crowd_failures: AtomicU64,
}

/// The page.
pub struct Counters {
    rows: NonNull<[Row; WORKERS_MAX]>,
    fd: OwnedFd,
}

// SAFETY: the memory behind `rows` holds atomics only, and is unmapped only on drop.
unsafe impl Send for Counters {}
// SAFETY: as above; atomics may be used from any thread.
unsafe impl Sync for Counters {}

impl Counters {
    /// Makes a zeroed page that child processes inherit.
    ///
    /// # Errors
    /// When memory or descriptors are exhausted.
    pub fn create() -> io::Result<Counters> {
        // SAFETY: the name is a NUL-terminated literal. No close-on-exec: workers inherit it.
        let fd = unsafe { libc::memfd_create(c"loadtest-counters".as_ptr(), 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just created and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let file = File::from(fd);
        file.set_len(size_of::<[Row; WORKERS_MAX]>() as u64)?;
        Counters::map(file.into())
    }

    /// Maps the page whose descriptor number the parent handed down.
    ///
    /// # Errors
    /// When the descriptor is not such a page.
    pub fn inherit(fd: i32) -> io::Result<Counters> {
        // SAFETY: asks about a descriptor by number; an unopened one answers an error.
        if fd < 3 || unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no counter page inherited"));
        }
        // SAFETY: it is open, and the worker's command line gives it to this object alone.
        let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        if file.metadata()?.len() != size_of::<[Row; WORKERS_MAX]>() as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the counter page"));
        }
        Counters::map(file.into())
    }

    fn map(fd: OwnedFd) -> io::Result<Counters> {
        // SAFETY: a fresh shared mapping of exactly the file's length; the kernel picks the place,
        // page-aligned and so aligned for Row. All-zero bytes are valid atomics.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<[Row; WORKERS_MAX]>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let rows = NonNull::new(address.cast()).ok_or_else(io::Error::last_os_error)?;
        Ok(Counters { rows, fd })
    }

    /// The descriptor number to hand to a worker.
    #[must_use]
    pub fn descriptor(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// All rows; those of absent workers stay zero.
    #[must_use]
    pub fn rows(&self) -> &[Row; WORKERS_MAX] {
        // SAFETY: mapped until drop, aligned, and only ever accessed through atomics.
        unsafe { self.rows.as_ref() }
    }

    /// The sum of one counter over all workers.
    pub fn sum(&self, counter: impl Fn(&Row) -> &AtomicU64) -> u64 {
        self.rows().iter().map(|row| counter(row).load(Ordering::Relaxed)).sum()
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this address and length, and no reference outlives self.
        unsafe { libc::munmap(self.rows.as_ptr().cast(), size_of::<[Row; WORKERS_MAX]>()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_mappings_see_the_same_counters() {
        let counters = Counters::create().unwrap();
        let again = Counters::map(counters.fd.try_clone().unwrap()).unwrap();
        again.rows()[3].delivered.store(41, Ordering::Relaxed);
        again.rows()[0].delivered.fetch_add(1, Ordering::Relaxed);
        assert_eq!(counters.sum(|row| &row.delivered), 42);
        assert!(Counters::inherit(0).is_err());
    }
}
