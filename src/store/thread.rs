//! The store's thread: one more member of the mesh, which takes requests and stages replies.
//!
//! Commits form groups by themselves: what arrives during one commit is the next batch. When nothing
//! is left the thread parks on its eventfd, and wakes for trimming once a second.
//!
//! Limits: it takes in at most twice what one commit takes; what is more stays in the mesh, whose
//! producers then hold back.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

use super::database::Database;
use super::serving::Waiting;
use crate::mesh::{Port, Wake};
use crate::model::shard::ShardIndex;
use crate::model::store::{StoreReply, StoreRequest};
use crate::stdx::clock;

/// From one trimming to the next.
const TRIM_INTERVAL: Duration = Duration::from_secs(1);
/// The same while there is more to trim than one call does; between two of them requests are served.
const TRIM_INTERVAL_BUSY: Duration = Duration::from_millis(20);
/// How soon a lane that was full is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(1);
/// How long a stop waits for what is under way, and for lanes that are full.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);

/// The running store.
#[derive(Debug)]
pub struct StoreThread {
    is_stopping: Arc<AtomicBool>,
    wake: Arc<Wake>,
    thread: JoinHandle<()>,
}

impl StoreThread {
    /// Has it end once all that is in its inbox is answered; at most 5 s later. It does not wait.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        self.wake.wake();
    }

    /// Waits for its end: the database is closed then, its log copied into the file.
    ///
    /// # Errors
    /// The panic that ended it, if `on_panic` has returned.
    pub fn join(self) -> std::thread::Result<()> {
        self.thread.join()
    }
}

/// Starts the thread. `unwrap` takes a request out of a parcel (`None`: it is not for the store and is
/// dropped), `wrap` makes a reply one. `on_panic` is called on the thread when it has panicked; without
/// a store every durable publish would wait for ever, so it should end the process.
///
/// # Errors
/// When the system has no thread left.
pub fn start<P: Send + 'static>(
    database: Database,
    port: Port<P>,
    unwrap: fn(P) -> Option<StoreRequest>,
    wrap: fn(StoreReply) -> P,
    on_panic: impl FnOnce() + Send + 'static,
) -> io::Result<StoreThread> {
    let is_stopping = Arc::new(AtomicBool::new(false));
    let wake = Arc::clone(port.wake());
    let worker = Worker {
        database,
        port,
        unwrap,
        wrap,
        waiting: Waiting::default(),
        is_stopping: Arc::clone(&is_stopping),
        trim_at: clock::now() + TRIM_INTERVAL,
    };
    let life = move || {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| worker.run())) {
            tracing::error!("the store's thread panicked");
            on_panic();
            std::panic::resume_unwind(panic);
        }
    };
    let thread = std::thread::Builder::new().name("store".to_owned()).spawn(life)?;
    Ok(StoreThread { is_stopping, wake, thread })
}

struct Worker<P> {
    database: Database,
    port: Port<P>,
    unwrap: fn(P) -> Option<StoreRequest>,
    wrap: fn(StoreReply) -> P,
    waiting: Waiting,
    is_stopping: Arc<AtomicBool>,
    trim_at: Instant,
}

impl<P> Worker<P> {
    fn run(mut self) {
        let mut stop_at = None;
        loop {
            // Before the inbox is looked at, so that what was sent before the stop is seen.
            if self.is_stopping.load(Ordering::SeqCst) {
                stop_at.get_or_insert_with(|| clock::now() + STOP_TIME_MAX);
            }
            self.take_in();
            self.database.take_reload();
            let served_count = self.serve();
            let has_backlog = self.port.flush().has_backlog;
            self.maintain();
            let is_idle = served_count == 0;
            let is_done = is_idle && self.waiting.count() == 0 && !has_backlog;
            if stop_at.is_some_and(|at| clock::now() >= at || is_done && self.port.inbox_is_empty())
            {
                break;
            }
            if is_idle {
                self.park(has_backlog);
            }
        }
        self.database.close();
    }

    fn take_in(&mut self) {
        let count_max = self.database.options().commit_count_max.max(1).saturating_mul(2);
        while self.waiting.count() < count_max
            && let Some(batch) = self.port.receive()
        {
            for request in batch.parcels.into_iter().filter_map(self.unwrap) {
                self.waiting.push(batch.from, request);
            }
        }
        self.database.counters().waiting.set(self.waiting.count() as u64);
    }

    fn serve(&mut self) -> usize {
        let (port, wrap) = (&mut self.port, self.wrap);
        // Whether a lane has room is judged before the round: it bounds what one round may add.
        let rooms: Vec<bool> = self.waiting.homes().map(|home| port.has_room(home)).collect();
        let has_room = |home: ShardIndex| rooms[home.index()];
        self.waiting.serve(&mut self.database, has_room, |home, reply| {
            let size = reply.size();
            port.stage(home, wrap(reply), size);
        })
    }

    /// What nobody waits for.
    fn maintain(&mut self) {
        self.database.checkpoint_when_due();
        let now = clock::now();
        if now >= self.trim_at {
            let has_more = self.database.trim(clock::unix_us());
            self.trim_at = now + if has_more { TRIM_INTERVAL_BUSY } else { TRIM_INTERVAL };
        }
    }

    fn park(&mut self, has_backlog: bool) {
        // Requests that wait although nothing was served wait for a lane.
        let is_blocked = has_backlog || self.waiting.count() > 0;
        let until_trim = self.trim_at.saturating_duration_since(clock::now());
        let timeout = if is_blocked { until_trim.min(RETRY_INTERVAL) } else { until_trim };
        let wake = Arc::clone(self.port.wake());
        wake.set_sleeping();
        if is_blocked || self.port.inbox_is_empty() && !self.is_stopping.load(Ordering::SeqCst) {
            sleep(&wake, timeout);
        }
        wake.set_awake();
    }
}

/// Sleeps until somebody wakes this thread or the time is over; a wake before this call counts.
fn sleep(wake: &Wake, timeout: Duration) {
    let timeout = Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    let mut fds = [PollFd::new(wake, PollFlags::IN)];
    // An interruption ends the sleep early, which is harmless.
    let _ = poll(&mut fds, Some(&timeout));
    // Empty when the time was over. Its counter is no queue: what was pushed before a write of it is
    // seen by the look at the inbox that follows.
    let _ = rustix::io::read(wake, &mut [0; 8]);
}
