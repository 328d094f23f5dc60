//! One thread's end of the mesh.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::wake::Wake;
use crate::model::shard::ShardIndex;

/// What one producer staged for one target in one turn.
#[derive(Debug)]
pub struct Batch<T> {
    /// The producer.
    pub from: ShardIndex,
    /// Its parcels, oldest first.
    pub parcels: Vec<T>,
}

/// One thread's end: an inbox and a lane to every other thread.
#[derive(Debug)]
pub struct Port<T> {
    own: ShardIndex,
    inbox: Receiver<Batch<T>>,
    wake: Arc<Wake>,
    lanes: Vec<Lane<T>>,
    /// Something is staged or waits: a flush has work.
    is_laden: bool,
    pending_size_max: usize,
}

#[derive(Debug)]
struct Lane<T> {
    queue: Sender<Batch<T>>,
    wake: Arc<Wake>,
    staged: Vec<T>,
    /// Batches that found the queue full, oldest first, with their sizes.
    backlog: VecDeque<(Batch<T>, usize)>,
    staged_size: usize,
    backlog_size: usize,
}

/// What a flush did, for the counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flushed {
    /// Batches handed over.
    pub batch_count: u64,
    /// Eventfd writes.
    pub wake_count: u64,
    /// Lanes whose queue was full.
    pub full_count: u64,
    /// Whether something still waits with this producer; call again soon.
    pub has_backlog: bool,
}

/// Makes `count` connected ports. `capacity` is the queue length in batches per target (at least
/// 1); `pending_size_max` the bytes one lane may hold back before `has_room` says no.
///
/// # Errors
/// When the process has no descriptor left for the eventfds.
pub fn ports<T>(
    count: u16,
    capacity: usize,
    pending_size_max: usize,
) -> std::io::Result<Vec<Port<T>>> {
    let mut ends = Vec::new();
    for _ in 0..count {
        ends.push((bounded(capacity.max(1)), Arc::new(Wake::new()?)));
    }
    let lanes = || {
        ends.iter().map(|((queue, _), wake)| Lane {
            queue: queue.clone(),
            wake: Arc::clone(wake),
            staged: Vec::new(),
            backlog: VecDeque::new(),
            staged_size: 0,
            backlog_size: 0,
        })
    };
    let port = |(own, ((_, inbox), wake)): (u16, &(_, Arc<Wake>))| {
        let inbox: &Receiver<Batch<T>> = inbox;
        Port {
            own: ShardIndex(own),
            inbox: inbox.clone(),
            wake: Arc::clone(wake),
            lanes: lanes().collect(),
            is_laden: false,
            pending_size_max,
        }
    };
    Ok((0..count).zip(&ends).map(port).collect())
}

impl<T> Port<T> {
    /// This end's index.
    pub fn own(&self) -> ShardIndex {
        self.own
    }

    /// This end's wake.
    pub fn wake(&self) -> &Arc<Wake> {
        &self.wake
    }

    /// The next batch from anyone, if one is there.
    pub fn receive(&self) -> Option<Batch<T>> {
        self.inbox.try_recv().ok()
    }

    /// Whether the inbox holds nothing now.
    pub fn inbox_is_empty(&self) -> bool {
        self.inbox.is_empty()
    }

    /// Batches in the inbox now.
    pub fn inbox_len(&self) -> usize {
        self.inbox.len()
    }

    /// Adds a parcel of `size` bytes to this turn's batch for `target`.
    ///
    /// # Panics
    /// When `target` is not one of the mesh's ports.
    pub fn stage(&mut self, target: ShardIndex, parcel: T, size: usize) {
        let lane = &mut self.lanes[target.index()];
        lane.staged.push(parcel);
        lane.staged_size += size;
        self.is_laden = true;
    }

    /// Whether the lane to `target` holds less than its limit.
    pub fn has_room(&self, target: ShardIndex) -> bool {
        let lane = &self.lanes[target.index()];
        lane.backlog_size + lane.staged_size < self.pending_size_max
    }

    /// Wakes every thread of the mesh that sleeps.
    pub fn wake_all(&self) {
        for lane in &self.lanes {
            lane.wake.wake();
        }
    }

    /// Bytes that wait with this producer.
    pub fn backlog_size(&self) -> usize {
        self.lanes.iter().map(|lane| lane.backlog_size).sum()
    }

    /// Hands over what is staged, older backlog first.
    pub fn flush(&mut self) -> Flushed {
        let mut flushed = Flushed::default();
        if !self.is_laden {
            return flushed;
        }
        for lane in &mut self.lanes {
            lane.flush(self.own, &mut flushed);
        }
        self.is_laden = flushed.has_backlog;
        flushed
    }
}

impl<T> Lane<T> {
    fn flush(&mut self, from: ShardIndex, flushed: &mut Flushed) {
        if !self.staged.is_empty() {
            let parcels = std::mem::take(&mut self.staged);
            let size = std::mem::take(&mut self.staged_size);
            self.backlog.push_back((Batch { from, parcels }, size));
            self.backlog_size += size;
        }
        let mut handed_over = false;
        while let Some((batch, size)) = self.backlog.pop_front() {
            match self.queue.try_send(batch) {
                Ok(()) => {
                    self.backlog_size -= size;
                    flushed.batch_count += 1;
                    handed_over = true;
                }
                Err(TrySendError::Full(batch)) => {
                    self.backlog.push_front((batch, size));
                    flushed.full_count += 1;
                    flushed.has_backlog = true;
                    break;
                }
                // The target's thread is gone: the process is stopping, nobody is left to tell.
                Err(TrySendError::Disconnected(_)) => self.backlog_size -= size,
            }
        }
        if handed_over && self.wake.wake() {
            flushed.wake_count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_keeps_order_and_loses_nothing() {
        let mut ports = ports::<u32>(2, 2, 100).unwrap();
        let b = ports.pop().unwrap();
        let mut a = ports.pop().unwrap();
        let mut sent = 0;
        while a.has_room(ShardIndex(1)) {
            a.stage(ShardIndex(1), sent, 10);
            sent += 1;
            a.flush();
        }
        assert_eq!(sent, 12, "two batches in the queue, ten held back");
        let mut received = Vec::new();
        while let Some(batch) = b.receive() {
            assert_eq!(batch.from, ShardIndex(0));
            received.extend(batch.parcels);
            a.flush();
        }
        assert_eq!(received, (0..sent).collect::<Vec<_>>());
        assert_eq!(a.backlog_size(), 0);
    }

    #[test]
    fn only_a_sleeping_target_is_woken_and_only_once() {
        let mut ports = ports::<u32>(2, 8, 100).unwrap();
        let b = ports.pop().unwrap();
        let mut a = ports.pop().unwrap();
        let wakes = |a: &mut Port<u32>| {
            a.stage(ShardIndex(1), 1, 1);
            a.flush().wake_count
        };
        assert_eq!(wakes(&mut a), 0);
        b.wake().set_sleeping();
        assert_eq!(wakes(&mut a), 1);
        assert_eq!(wakes(&mut a), 0);
    }

    #[test]
    fn no_wake_is_lost_between_two_threads() {
        use rustix::event::{PollFd, PollFlags, poll};
        const PARCEL_COUNT: u32 = 200_000;
        let mut ports = ports::<u32>(2, 4, usize::MAX).unwrap();
        let b = ports.pop().unwrap();
        let mut a = ports.pop().unwrap();
        let producer = std::thread::spawn(move || {
            for n in 0..PARCEL_COUNT {
                a.stage(ShardIndex(1), n, 1);
                if n % 3 == 0 {
                    a.flush();
                }
            }
            while a.flush().has_backlog {
                std::thread::yield_now();
            }
        });
        let mut expected = 0;
        while expected < PARCEL_COUNT {
            while let Some(batch) = b.receive() {
                for n in batch.parcels {
                    assert_eq!(n, expected);
                    expected += 1;
                }
            }
            b.wake().set_sleeping();
            if b.inbox_is_empty() && expected < PARCEL_COUNT {
                let mut fds = [PollFd::new(b.wake().as_ref(), PollFlags::IN)];
                let timeout = rustix::time::Timespec { tv_sec: 10, tv_nsec: 0 };
                assert_eq!(poll(&mut fds, Some(&timeout)).unwrap(), 1, "a wake was lost");
                let mut drained = [0; 8];
                rustix::io::read(b.wake().as_ref(), &mut drained).unwrap();
            }
            b.wake().set_awake();
        }
        producer.join().unwrap();
    }
}
