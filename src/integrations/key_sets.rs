//! Keeps the key sets (RFC 7517 §5) that token keys name fresh on the board that shards read.
//!
//! One thread, `integrations`; on it one task per set, which alone fetches that set, so that a URI is
//! fetched once at a time however many shards ask. The thread is a daemon: nobody joins it, since
//! ending the process in the middle of a GET harms nobody. It ends by itself once the last holder has
//! dropped the board.
//!
//! Invariants: a failed attempt keeps the set that was there; each attempt is logged once, so the
//! schedule that bounds attempts bounds the log.

use std::io;
use std::panic::catch_unwind;
use std::sync::{Arc, Weak};
use std::time::Instant;

use reqwest::Client;
use tokio::runtime;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use super::fetch::{Clients, Document, fetch};
use super::options::KeySetOptions;
use super::schedule::{Due, Schedule};
use super::target::Target;
use crate::model::key_board::KeyBoard;
use crate::model::token::{KeySetIndex, KeySetSource};
use crate::stdx::{clock, random};

/// Fetches under way at once over all sets; further ones wait. Also the threads that resolve names.
const FETCHES_MAX: usize = 16;
/// Characters of a reason that are kept; a provider has its say in them.
const REASON_LENGTH_MAX: usize = 300;

/// What a document turned out to hold.
#[derive(Debug)]
pub struct ParsedKeys<K> {
    /// The keys.
    pub keys: K,
    /// How many of them can be used; none is a failure.
    pub usable_count: usize,
}

/// Reads a document that was fetched; its reason must hold no secret.
type Parse<K> = fn(&[u8]) -> Result<ParsedKeys<K>, String>;

/// Where key sets were posted before, and their sources, in the order of the board's places.
pub(super) type Former<'a, K> = (&'a [KeySetSource], &'a KeyBoard<K>);

/// Starts fetching `sources`, each at once and again before it expires. The board's places are theirs.
/// `on_change` is called on the fetching thread behind every change of the board, to wake its readers;
/// it must not block. Without sources no thread is started. What a `former` board holds of the same
/// sources is served until the first fetches end; of their age only the time from now on counts.
///
/// # Errors
/// `InvalidInput` for a source that [`check`](super::check) refuses; otherwise what the system lacks:
/// certificates, descriptors, threads.
///
/// # Panics
/// With more than 65,535 sources, which no [`KeySetIndex`] can name.
pub fn start<K: Send + Sync + 'static>(
    sources: &[KeySetSource],
    former: Option<Former<'_, K>>,
    options: KeySetOptions,
    parse: Parse<K>,
    on_change: impl Fn() + Send + Sync + 'static,
) -> io::Result<Arc<KeyBoard<K>>> {
    let (senders, receivers): (Vec<_>, Vec<_>) =
        sources.iter().map(|_| mpsc::channel::<()>(1)).unzip();
    let board = Arc::new(KeyBoard::new(sources.len(), move |index: KeySetIndex| {
        // A full channel holds an earlier request that serves this one too.
        let _ = senders[usize::from(index.0)].try_send(());
    }));
    if sources.is_empty() {
        return Ok(board);
    }
    let shared = Arc::new(Shared {
        board: Arc::downgrade(&board),
        options,
        parse,
        on_change: Box::new(on_change),
        permits: Semaphore::new(FETCHES_MAX),
    });
    let mut clients = Clients::default();
    let mut keepers = Vec::with_capacity(sources.len());
    for (index, (source, asked)) in sources.iter().zip(receivers).enumerate() {
        let invalid = |problem| io::Error::new(io::ErrorKind::InvalidInput, problem);
        let target = Target::new(source).map_err(invalid)?;
        let client = clients.of(&target).map_err(io::Error::other)?;
        let index = u16::try_from(index).expect("a KeySetIndex names each source");
        let (index, now) = (KeySetIndex(index), clock::now());
        let mut schedule = Schedule::new(options, now);
        if let Some(keys) = former.and_then(|former| inherited(former, source)) {
            board.inherit(index, keys);
            schedule = schedule.serving(now);
        }
        keepers.push(Keeper {
            index,
            target,
            client,
            asked,
            schedule,
            shared: Arc::clone(&shared),
        });
    }
    spawn(keepers)?;
    Ok(board)
}

fn inherited<K>((sources, board): Former<'_, K>, source: &KeySetSource) -> Option<Arc<K>> {
    let index = sources.iter().position(|known| known == source)?;
    board.state(KeySetIndex(u16::try_from(index).ok()?)).keys
}

fn spawn<K: Send + Sync + 'static>(keepers: Vec<Keeper<K>>) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(FETCHES_MAX)
        .build()?;
    let life = move || {
        runtime.block_on(async {
            let mut tasks: JoinSet<()> = keepers.into_iter().map(Keeper::run).collect();
            while let Some(ended) = tasks.join_next().await {
                if let Err(error) = ended {
                    tracing::error!(%error, "a key set is fetched no more");
                }
            }
        });
        // A resolver that hangs must not keep the thread.
        runtime.shutdown_background();
    };
    std::thread::Builder::new().name("integrations".to_owned()).spawn(life).map(drop)
}

/// What all keepers have in common.
struct Shared<K> {
    /// Weak, so that the last reader's drop closes `asked` and so ends the keepers.
    board: Weak<KeyBoard<K>>,
    options: KeySetOptions,
    parse: Parse<K>,
    on_change: Box<dyn Fn() + Send + Sync>,
    permits: Semaphore,
}

/// Keeps one key set.
struct Keeper<K> {
    index: KeySetIndex,
    target: Target,
    client: Client,
    asked: mpsc::Receiver<()>,
    schedule: Schedule,
    shared: Arc<Shared<K>>,
}

impl<K: Send + Sync + 'static> Keeper<K> {
    async fn run(mut self) {
        // No board: nobody reads any more.
        while let Some(board) = self.shared.board.upgrade() {
            match self.schedule.take_due(clock::now()) {
                Some(Due::EndCoolDown) => board.end_cool_down(self.index),
                Some(Due::Remove) => self.remove(&board),
                Some(Due::Fetch) => {
                    board.begin(self.index);
                    drop(board);
                    self.attempt().await;
                }
                None => {
                    drop(board);
                    let until = self.schedule.next_at().into();
                    if let Ok(Some(())) = timeout_at(until, self.asked.recv()).await {
                        self.schedule.request(clock::now());
                    }
                }
            }
        }
    }

    async fn attempt(&mut self) {
        let outcome = self.keys().await;
        let now = clock::now();
        // The log before the board: who is woken by a change finds its reason told.
        let posted = match outcome {
            Ok((parsed, document)) => {
                self.schedule.succeeded(now, document.lifetime, random::word());
                self.log_success(parsed.usable_count, now);
                Ok(Arc::new(parsed.keys))
            }
            Err(reason) => {
                self.schedule.failed(now, random::word());
                let reason = printable(&reason);
                self.log_failure(&reason, now);
                Err(Arc::from(reason))
            }
        };
        if let Some(board) = self.shared.board.upgrade() {
            board.complete(self.index, posted);
            (self.shared.on_change)();
        }
    }

    async fn keys(&self) -> Result<(ParsedKeys<K>, Document), String> {
        let permit = self.shared.permits.acquire().await;
        let fetched = fetch(&self.client, &self.target, &self.shared.options).await;
        drop(permit);
        let document = fetched?;
        let parse = self.shared.parse;
        // A parser's bug must cost one set's attempt, not all later ones.
        let parsed = catch_unwind(|| parse(&document.body));
        let parsed = parsed.unwrap_or_else(|_| Err("its parser panicked".to_owned()))?;
        if parsed.usable_count == 0 {
            return Err("it holds no key that can be used".to_owned());
        }
        Ok((parsed, document))
    }

    fn remove(&self, board: &KeyBoard<K>) {
        let age_s = self.shared.options.stale_max.as_secs();
        tracing::warn!(key_set = self.target.shown, age_s, "key set removed: too old to trust");
        board.remove(self.index);
        (self.shared.on_change)();
    }

    fn log_success(&self, key_count: usize, now: Instant) {
        let refresh_in_s = (self.schedule.fetch_at() - now).as_secs();
        let key_set = &self.target.shown;
        tracing::info!(key_set, key_count, refresh_in_s, "key set fetched");
    }

    fn log_failure(&self, reason: &str, now: Instant) {
        let retry_in_s = (self.schedule.fetch_at() - now).as_secs();
        let served_age_s = self.schedule.fetched_at().map(|at| (now - at).as_secs());
        let key_set = &self.target.shown;
        tracing::warn!(key_set, reason, served_age_s, retry_in_s, "key set not fetched");
    }
}

/// A reason as one line of bounded length.
fn printable(reason: &str) -> String {
    let line = reason.chars().map(|c| if c.is_control() { ' ' } else { c });
    line.take(REASON_LENGTH_MAX).collect()
}
