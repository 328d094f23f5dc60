//! Which sockets are ready: one epoll instance per shard, edge-triggered, armed once per socket.
//!
//! Why epoll under an io_uring runtime: monoio offers one-shot readiness only, which costs a task
//! of about 350 bytes per idle connection and two system-call-sized operations per read. An
//! edge-triggered epoll set costs no user memory, is never re-armed, forgets a socket when it is
//! closed, and is itself one descriptor that the ring waits for. Both drivers use it alike.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::time::Timespec;

use super::listeners::LISTENERS_MAX;
use crate::stdx::slab::Key;

/// Events taken from the kernel at once; more wait for the next turn.
const EVENTS_MAX: usize = 512;

/// Who is ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// A listening socket, by its place among the shard's.
    Listener(u8),
    /// The admin door's.
    AdminListener,
    /// Another thread pushed to the inbox.
    Wake,
    /// A connection.
    Connection(Key),
}

/// One ready source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    pub(super) source: Source,
    /// Bytes, an end or an error can be read.
    pub(super) readable: bool,
    /// There is room to write again.
    pub(super) writable: bool,
    /// The peer has closed or the socket failed: read until that shows.
    pub(super) ended: bool,
}

/// The shard's epoll set.
pub(super) struct Readiness {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

/// Connections' keys stay below: their index would have to be 2³²−1.
const WAKE: u64 = u64::MAX;
const ADMIN_LISTENER: u64 = WAKE - 1;
const LISTENERS: u64 = ADMIN_LISTENER - LISTENERS_MAX as u64;

impl Readiness {
    /// An empty set.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub(super) fn new() -> std::io::Result<Readiness> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Readiness { epoll, events: Vec::with_capacity(EVENTS_MAX) })
    }

    /// Watches `fd` until it is closed. The listener is level-triggered, so that a turn may leave
    /// connections in the backlog; all else is edge-triggered.
    ///
    /// # Errors
    /// When the kernel has no memory for it.
    pub(super) fn watch(&self, fd: BorrowedFd<'_>, source: Source) -> std::io::Result<()> {
        let edge = epoll::EventFlags::ET;
        let (data, flags) = match source {
            Source::AdminListener => (ADMIN_LISTENER, epoll::EventFlags::IN | edge),
            Source::Listener(index) => (LISTENERS + u64::from(index), epoll::EventFlags::IN),
            Source::Wake => (WAKE, epoll::EventFlags::IN | edge),
            Source::Connection(key) => (
                u64::from(key.index) << 32 | u64::from(key.generation),
                epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | edge,
            ),
        };
        Ok(epoll::add(&self.epoll, fd, epoll::EventData::new_u64(data), flags)?)
    }

    /// Stops watching `fd` before it is closed.
    pub(super) fn forget(&self, fd: BorrowedFd<'_>) {
        // Fails only if it was never watched.
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Takes what is ready now, without waiting.
    pub(super) fn poll(&mut self, ready: &mut Vec<Ready>) {
        self.events.clear();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // A signal may interrupt even a call that does not wait; the next turn asks again.
        if epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&now)).is_err() {
            return;
        }
        ready.extend(self.events.iter().map(|event| {
            let flags = event.flags;
            let failed = flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR);
            let ended = failed || flags.contains(epoll::EventFlags::RDHUP);
            Ready {
                source: source_of(event.data.u64()),
                readable: ended || flags.contains(epoll::EventFlags::IN),
                writable: failed || flags.contains(epoll::EventFlags::OUT),
                ended,
            }
        }));
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

fn source_of(data: u64) -> Source {
    match data {
        WAKE => Source::Wake,
        ADMIN_LISTENER => Source::AdminListener,
        #[expect(clippy::cast_possible_truncation, reason = "below LISTENERS_MAX")]
        LISTENERS.. => Source::Listener((data - LISTENERS) as u8),
        _ => {
            #[expect(clippy::cast_possible_truncation, reason = "the two halves of the word")]
            let (index, generation) = ((data >> 32) as u32, data as u32);
            Source::Connection(Key { index, generation })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn an_edge_is_told_once_and_an_end_is_told() {
        let mut readiness = Readiness::new().unwrap();
        let (a, mut b) = UnixStream::pair().unwrap();
        let source = Source::Connection(Key { index: 7, generation: 9 });
        readiness.watch(a.as_fd(), source).unwrap();
        let mut poll = || {
            let mut ready = Vec::new();
            readiness.poll(&mut ready);
            ready
        };
        let first = poll();
        assert!(first.len() == 1 && first[0].writable && !first[0].readable);
        b.write_all(b"x").unwrap();
        let second = poll();
        assert!(second.len() == 1 && second[0].readable && second[0].source == source);
        assert!(poll().is_empty());
        drop(b);
        assert!(poll()[0].ended);
    }
}
