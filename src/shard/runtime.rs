//! The shard's runtime: monoio on io_uring, tried with the best flags first, or on epoll.
//!
//! monoio parks the thread on the shard's one readiness descriptor and keeps the time. The shard's
//! whole work is the root future, so that a turn is never interleaved with other tasks and its end
//! has a place; built without monoio's `sync` feature, no foreign waker can reach it.

use std::future::Future;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Once;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use monoio::net::TcpStream;
use monoio::time::{Sleep, TimeDriver};
use monoio::{IoUringDriver, LegacyDriver, Runtime, RuntimeBuilder};

use super::options::Driver;

/// Entries of monoio's ring; it carries one poll and its timeout, so the least it takes is plenty.
const RING_ENTRIES: u32 = 256;

/// Which driver runs the shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ActiveDriver {
    /// io_uring, with the flags it was set up with.
    Uring(&'static str),
    /// epoll.
    Epoll,
}

impl std::fmt::Display for ActiveDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ActiveDriver::Uring(flags) => write!(f, "io_uring ({flags})"),
            ActiveDriver::Epoll => f.write_str("epoll"),
        }
    }
}

/// A built runtime.
pub(super) enum ShardRuntime {
    Uring(Runtime<TimeDriver<IoUringDriver>>),
    Epoll(Runtime<TimeDriver<LegacyDriver>>),
}

impl ShardRuntime {
    /// Builds the runtime that `choice` asks for; `Auto` falls back to epoll.
    ///
    /// # Errors
    /// When io_uring is demanded and cannot be had, or descriptors have run out.
    pub(super) fn build(choice: Driver) -> std::io::Result<(ShardRuntime, ActiveDriver)> {
        let refused = match choice {
            Driver::Epoll => None,
            Driver::Auto | Driver::Uring => match build_uring() {
                Ok((runtime, flags)) => {
                    return Ok((ShardRuntime::Uring(runtime), ActiveDriver::Uring(flags)));
                }
                Err(error) => Some(error),
            },
        };
        match (choice, refused) {
            (Driver::Uring, Some(error)) => Err(std::io::Error::new(
                error.kind(),
                format!(
                    "io_uring cannot be had here ({error}); allow it \
                     (sysctl kernel.io_uring_disabled, seccomp) or run with --driver epoll"
                ),
            )),
            (_, refused) => {
                if let Some(error) = refused {
                    // The reason is the machine's, and the same for every shard.
                    static SAID: Once = Once::new();
                    SAID.call_once(|| {
                        tracing::warn!(%error, "io_uring cannot be had here; using epoll");
                    });
                }
                let runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?;
                Ok((ShardRuntime::Epoll(runtime), ActiveDriver::Epoll))
            }
        }
    }

    /// Runs `root` to its end on this thread.
    pub(super) fn block_on<F: Future>(&mut self, root: F) -> F::Output {
        match self {
            ShardRuntime::Uring(runtime) => runtime.block_on(root),
            ShardRuntime::Epoll(runtime) => runtime.block_on(root),
        }
    }
}

fn build_uring() -> std::io::Result<(Runtime<TimeDriver<IoUringDriver>>, &'static str)> {
    let mut last = None;
    for (flags, configure) in LADDER {
        let mut ring = io_uring::IoUring::builder();
        configure(&mut ring);
        let built = RuntimeBuilder::<IoUringDriver>::new()
            .with_entries(RING_ENTRIES)
            .uring_builder(ring)
            .enable_timer()
            .build();
        match built {
            Ok(runtime) => return Ok((runtime, flags)),
            Err(error) => last = Some(error),
        }
    }
    Err(last.expect("the ladder has rungs"))
}

/// Tries io_uring as a shard would, its rings for waiting and for sends; tells the flags it was
/// granted, and whether they are the best there are.
///
/// # Errors
/// Why the kernel does not grant it.
pub fn probe_uring() -> std::io::Result<(&'static str, bool)> {
    let (_runtime, flags) = build_uring()?;
    super::send::RingSender::new()?;
    Ok((flags, flags == LADDER[0].0))
}

type Configure = fn(&mut io_uring::Builder);

/// Best first: kernel 6.0 knows all of the first, 5.19 the second, 5.6 the last.
const LADDER: [(&str, Configure); 3] = [
    ("coop_taskrun, taskrun_flag, single_issuer, submit_all", |ring| {
        ring.setup_coop_taskrun().setup_taskrun_flag().setup_single_issuer().setup_submit_all();
    }),
    ("coop_taskrun", |ring| {
        ring.setup_coop_taskrun();
    }),
    ("no flags", |_ring| {}),
];

/// Waits for the shard's readiness descriptor or a deadline. An unfinished wait for readiness stays
/// armed from one park to the next, and so does the timer: it is set anew only for an earlier
/// deadline or once its own has passed. A deadline that has moved away since costs one early return.
pub(super) struct Parker {
    stream: Rc<TcpStream>,
    readable: Option<Pin<Box<dyn Future<Output = ()>>>>,
    sleep: Pin<Box<Sleep>>,
    sleeps_until: Instant,
}

impl std::fmt::Debug for Parker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parker").finish_non_exhaustive()
    }
}

impl Parker {
    /// Parks on `fd`; it is `now`. Call on the runtime's own thread, inside `block_on`.
    ///
    /// # Errors
    /// When the descriptor cannot be duplicated or registered.
    pub(super) fn new(fd: &impl AsFd, now: Instant) -> std::io::Result<Parker> {
        let own: OwnedFd = fd.as_fd().try_clone_to_owned()?;
        // monoio knows streams, not descriptors; only readiness is ever asked of this one.
        let stream = TcpStream::from_std(std::net::TcpStream::from(own))?;
        let sleep = Box::pin(monoio::time::sleep_until(now.into()));
        Ok(Parker { stream: Rc::new(stream), readable: None, sleep, sleeps_until: now })
    }

    /// Waits until the descriptor is readable or `wait` from `now` on has passed; it may return
    /// earlier.
    pub(super) async fn park(&mut self, now: Instant, wait: Duration) {
        let until = now + wait;
        if until < self.sleeps_until || self.sleeps_until <= now {
            self.sleep.as_mut().reset(until.into());
            self.sleeps_until = until;
        }
        let sleep = &mut self.sleep;
        let stream = &self.stream;
        let readable = self.readable.get_or_insert_with(|| {
            let stream = Rc::clone(stream);
            Box::pin(async move {
                // An error here means a broken descriptor; the turn that follows shows it.
                let _ = stream.readable(false).await;
            })
        });
        let is_readable = std::future::poll_fn(|cx: &mut Context<'_>| {
            if readable.as_mut().poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            sleep.as_mut().poll(cx).map(|()| false)
        })
        .await;
        if is_readable {
            self.readable = None;
        }
    }
}
