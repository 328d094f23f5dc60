//! The send back end of a private io_uring: a batch is one `io_uring_enter`.
//!
//! Why private: monoio's ring is not reachable, and one write future per delivery costs more than
//! the send itself (design: 1,230 user instructions against 75 for an entry here).
//!
//! Invariant: no entry outlives the call that submitted it. `MSG_DONTWAIT` makes the kernel answer
//! every send within the enter; `send` returns only when it has as many completions as entries, so
//! the memory that entries point into is borrowed for exactly that long.
#![expect(unsafe_code, reason = "submission entries carry raw pointers")]

use std::os::fd::AsRawFd as _;

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::io::Errno;

use super::{BATCH_LEN_MAX, Job, Parts, SendResult};

const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// A ring and the message headers its entries point to.
pub(in crate::shard) struct RingSender {
    ring: IoUring,
    headers: Vec<libc::msghdr>,
}

impl std::fmt::Debug for RingSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RingSender").finish_non_exhaustive()
    }
}

impl RingSender {
    /// A ring of [`BATCH_LEN_MAX`] entries; use it on the thread that made it.
    ///
    /// # Errors
    /// When the kernel has no io_uring, forbids it, or refuses the memory.
    pub(in crate::shard) fn new() -> std::io::Result<RingSender> {
        let entries = u32::try_from(BATCH_LEN_MAX).expect("a small constant");
        let full = IoUring::<squeue::Entry, cqueue::Entry>::builder()
            .setup_coop_taskrun()
            .setup_single_issuer()
            .build(entries);
        // Kernels before 6.0 know no single issuer, before 5.19 no cooperative task run.
        let ring = full.or_else(|_refused| IoUring::new(entries)).map_err(|error| {
            let text = format!("no io_uring for shards.send = ring ({error}); use auto or direct");
            std::io::Error::new(error.kind(), text)
        })?;
        Ok(RingSender { ring, headers: Vec::with_capacity(BATCH_LEN_MAX) })
    }

    pub(super) fn send(&mut self, jobs: &[Job<'_>], results: &mut Vec<SendResult>) -> u64 {
        self.headers.clear();
        results.resize(jobs.len(), Err(Errno::INPROGRESS));
        for (index, job) in jobs.iter().enumerate() {
            let entry = self.entry(job).user_data(index as u64);
            // SAFETY: the entry points into `job` (borrowed for this call) or into `headers`,
            // whose capacity of BATCH_LEN_MAX is never exceeded, so it does not move; `wait_all`
            // returns only when every entry has completed.
            unsafe { self.ring.submission().push(&entry) }
                .expect("the ring has BATCH_LEN_MAX entries and the batch is no longer");
        }
        self.wait_all(jobs.len(), results)
    }

    pub(super) fn overflow_count(&mut self) -> u64 {
        u64::from(self.ring.completion().overflow())
    }

    fn entry(&mut self, job: &Job<'_>) -> squeue::Entry {
        let fd = types::Fd(job.fd.as_raw_fd());
        match &job.parts {
            Parts::One(bytes) => {
                // A send of over 4 GiB would be cut; queues are limited far below.
                let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                opcode::Send::new(fd, bytes.as_ptr(), size).flags(FLAGS).build()
            }
            Parts::Many(parts) => {
                // SAFETY: all-zero is a valid msghdr: no name, no control data, no parts.
                let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
                // IoSlice is guaranteed to have the layout of iovec.
                header.msg_iov = parts.as_ptr().cast_mut().cast::<libc::iovec>();
                header.msg_iovlen = parts.len();
                assert!(self.headers.len() < BATCH_LEN_MAX, "headers never move");
                self.headers.push(header);
                let header = self.headers.last().expect("just pushed");
                opcode::SendMsg::new(fd, header).flags(FLAGS.cast_unsigned()).build()
            }
        }
    }

    /// Enters the ring until all are done; how often.
    fn wait_all(&mut self, count: usize, results: &mut [SendResult]) -> u64 {
        let mut completed = 0;
        let mut enter_count = 0;
        while completed < count {
            enter_count += 1;
            match self.ring.submit_and_wait(count - completed) {
                Ok(_) => {}
                Err(error)
                    if matches!(
                        error.raw_os_error(),
                        Some(libc::EINTR | libc::EAGAIN | libc::EBUSY)
                    ) => {}
                // Entries may be in flight over memory that the caller is about to free.
                Err(error) => {
                    tracing::error!(%error, "the send ring failed beyond recovery");
                    std::process::abort();
                }
            }
            for completion in self.ring.completion() {
                let index = usize::try_from(completion.user_data()).expect("a batch index");
                results[index] = match usize::try_from(completion.result()) {
                    Ok(sent) => Ok(sent),
                    Err(_negative) => Err(Errno::from_raw_os_error(-completion.result())),
                };
                completed += 1;
            }
        }
        enter_count
    }
}
