//! The choice between the send back ends, and the contract both keep.

use super::{BATCH_LEN_MAX, DirectSender, Job, Parts, RingSender, SendResult};

/// A way to send a batch.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one per shard")]
pub(in crate::shard) enum Sender {
    /// Through the private ring.
    Ring(RingSender),
    /// Through one system call each.
    Direct(DirectSender),
}

impl Sender {
    /// Sends every job of the batch (at most [`BATCH_LEN_MAX`]) and writes one result each; how many
    /// system calls that took.
    pub(in crate::shard) fn send(
        &mut self,
        jobs: &[Job<'_>],
        results: &mut Vec<SendResult>,
    ) -> u64 {
        assert!(jobs.len() <= BATCH_LEN_MAX, "the caller cuts batches");
        results.clear();
        let call_count = match self {
            Sender::Ring(ring) => ring.send(jobs, results),
            Sender::Direct(direct) => direct.send(jobs, results),
        };
        assert_eq!(results.len(), jobs.len(), "every send has its result");
        call_count
    }

    /// Completions that found no place so far.
    pub(in crate::shard) fn overflow_count(&mut self) -> u64 {
        match self {
            Sender::Ring(ring) => ring.overflow_count(),
            Sender::Direct(_) => 0,
        }
    }
}

impl Parts<'_> {
    /// Bytes in all.
    pub(in crate::shard) fn size(&self) -> u32 {
        let size = match self {
            Parts::One(bytes) => bytes.len(),
            Parts::Many(parts) => parts.iter().map(|part| part.len()).sum(),
        };
        u32::try_from(size).expect("queues are limited far below 4 GiB")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    use std::io::IoSlice;

    use super::*;

    fn senders() -> Vec<Sender> {
        let mut senders = vec![Sender::Direct(DirectSender)];
        match RingSender::new() {
            Ok(ring) => senders.push(Sender::Ring(ring)),
            Err(error) => eprintln!("skipped: no io_uring here ({error})"),
        }
        senders
    }

    #[test]
    fn both_back_ends_send_the_same_bytes_and_report_a_full_socket() {
        for mut sender in senders() {
            let (a, mut b) = UnixStream::pair().unwrap();
            let mut results = Vec::new();
            let parts = [b"one ".as_slice(), b"two ", b"three"];
            let many = Parts::Many(parts.iter().map(|part| IoSlice::new(part)).collect());
            let jobs = [
                Job { fd: a.as_fd(), parts: Parts::One(b"zero ") },
                Job { fd: a.as_fd(), parts: many },
            ];
            let call_count = sender.send(&jobs, &mut results);
            assert_eq!(results, [Ok(5), Ok(13)]);
            assert!((1..=2).contains(&call_count), "{call_count} calls for two sends");
            let mut read = [0; 18];
            b.read_exact(&mut read).unwrap();
            assert_eq!(&read, b"zero one two three");

            let big = vec![7_u8; 4 << 20];
            let jobs = [Job { fd: a.as_fd(), parts: Parts::One(&big) }];
            sender.send(&jobs, &mut results);
            let taken = results[0].unwrap();
            assert!(taken < big.len());
            sender.send(&jobs, &mut results);
            assert_eq!(results, [Err(rustix::io::Errno::AGAIN)]);
        }
    }

    #[test]
    fn a_dead_peer_is_an_error_and_no_signal() {
        for mut sender in senders() {
            let (a, b) = UnixStream::pair().unwrap();
            drop(b);
            let mut results = Vec::new();
            sender.send(&[Job { fd: a.as_fd(), parts: Parts::One(b"x") }], &mut results);
            assert_eq!(results, [Err(rustix::io::Errno::PIPE)]);
        }
    }

    #[test]
    fn a_full_batch_completes_in_one_call() {
        for mut sender in senders() {
            let pairs: Vec<_> = (0..BATCH_LEN_MAX).map(|_| UnixStream::pair().unwrap()).collect();
            let jobs: Vec<_> = pairs
                .iter()
                .map(|(a, _)| Job { fd: a.as_fd(), parts: Parts::One(b"hello") })
                .collect();
            let mut results = Vec::new();
            for _ in 0..5 {
                sender.send(&jobs, &mut results);
                assert!(results.iter().all(|result| *result == Ok(5)));
            }
        }
    }
}
