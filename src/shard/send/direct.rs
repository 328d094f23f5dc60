//! The send back end of plain system calls.

use rustix::net::{SendAncillaryBuffer, SendFlags, send, sendmsg};

use super::{Job, Parts, SendResult};

const FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// One `send` or `sendmsg` per job. Holds nothing.
#[derive(Debug)]
pub(in crate::shard) struct DirectSender;

impl DirectSender {
    #[expect(clippy::unused_self, reason = "the same call as the ring's")]
    pub(super) fn send(&mut self, jobs: &[Job<'_>], results: &mut Vec<SendResult>) -> u64 {
        results.extend(jobs.iter().map(|job| match &job.parts {
            Parts::One(bytes) => send(job.fd, bytes, FLAGS),
            Parts::Many(parts) => {
                sendmsg(job.fd, parts, &mut SendAncillaryBuffer::default(), FLAGS)
            }
        }));
        jobs.len() as u64
    }
}
