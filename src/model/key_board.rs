//! Where fetched key sets are posted by the thread that fetches them, and read by the shards.
//!
//! A shard asks for `version` once per turn and looks at states only when it has changed. One that
//! lacks a key makes a `request`; its answer comes as a change of the version, never as a call.
//!
//! Invariants: of one key set at most one fetch is under way; requests cause at most one fetch per
//! cool-down, whatever key ids strangers invent; a state never shows a set that was not fetched whole
//! and parsed. Knows neither what a key set is, nor how one is fetched, nor the time: the fetching
//! side says when a cool-down is over.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::token::KeySetIndex;

/// One place per key set that the configuration names.
pub struct KeyBoard<K> {
    version: AtomicU64,
    places: Box<[Mutex<Place<K>>]>,
    ask: Box<dyn Fn(KeySetIndex) + Send + Sync>,
}

/// What is known of one key set.
pub struct KeySetState<K> {
    /// The last set fetched; `None` before the first, and when the last has become too old to trust.
    pub keys: Option<Arc<K>>,
    /// Fetches that have ended, well or badly.
    pub attempt_count: u64,
    /// Why the last fetch failed; `None` if it did not. Carries no secret.
    pub last_failure: Option<Arc<str>>,
}

/// What comes of asking for a fresh key set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Requested {
    /// A fetch has ended since the caller looked, is under way, or begins now: the version will
    /// differ from the one the caller last saw, well or badly.
    Pending,
    /// The last fetch ended so recently that no other follows from this. What its set does not hold
    /// counts as unknown until the cool-down is over.
    CoolingDown,
}

struct Place<K> {
    state: KeySetState<K>,
    fetch: Fetch,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fetch {
    UnderWay,
    CoolingDown,
    Possible,
}

impl<K> KeyBoard<K> {
    /// A board for `count` key sets, whose first fetches count as under way already. `ask` is called,
    /// on the asking thread, when a request shall cause a fetch; it must not block.
    pub fn new(count: usize, ask: impl Fn(KeySetIndex) + Send + Sync + 'static) -> KeyBoard<K> {
        let place = || {
            let state = KeySetState { keys: None, attempt_count: 0, last_failure: None };
            Mutex::new(Place { state, fetch: Fetch::UnderWay })
        };
        KeyBoard {
            version: AtomicU64::new(0),
            places: (0..count).map(|_| place()).collect(),
            ask: Box::new(ask),
        }
    }

    /// Posts a set that another board had, until the first fetch ends. Before anyone reads.
    ///
    /// # Panics
    /// When `index` is of another configuration.
    pub fn inherit(&self, index: KeySetIndex, keys: Arc<K>) {
        self.place(index).state.keys = Some(keys);
    }

    /// Key sets on the board.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Grows with every change of a state. Costs one load: cheap enough for each turn.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The key set at `index` as last posted. Read the version first: a change between the two then
    /// shows again.
    ///
    /// # Panics
    /// When `index` is of another configuration.
    pub fn state(&self, index: KeySetIndex) -> KeySetState<K> {
        self.place(index).state.clone()
    }

    /// Asks for a set newer than the state that the caller has, which it names by its
    /// `attempt_count`.
    ///
    /// # Panics
    /// When `index` is of another configuration.
    pub fn request(&self, index: KeySetIndex, seen_attempt_count: u64) -> Requested {
        let mut place = self.place(index);
        if place.state.attempt_count != seen_attempt_count {
            return Requested::Pending;
        }
        match place.fetch {
            Fetch::UnderWay => Requested::Pending,
            Fetch::CoolingDown => Requested::CoolingDown,
            Fetch::Possible => {
                place.fetch = Fetch::UnderWay;
                drop(place);
                (self.ask)(index);
                Requested::Pending
            }
        }
    }

    /// For the fetching side: a fetch begins, asked for or not.
    ///
    /// # Panics
    /// When `index` is of another configuration.
    pub fn begin(&self, index: KeySetIndex) {
        self.place(index).fetch = Fetch::UnderWay;
    }

    /// For the fetching side: the fetch has ended, with a set or with the reason why not. A failure
    /// keeps the set that was there. The cool-down begins.
    ///
    /// # Panics
    /// When `index` is of another configuration.
    pub fn complete(&self, index: KeySetIndex, outcome: Result<Arc<K>, Arc<str>>) {
        let mut place = self.place(index);
        place.fetch = Fetch::CoolingDown;
        place.state.attempt_count += 1;
        match outcome {
            Ok(keys) => {
                place.state.keys = Some(keys);
                place.state.last_failure = None;
            }
            Err(reason) => place.state.last_failure = Some(reason),
        }
        self.changed(place);
    }

    /// For the fetching side: the cool-down is over; the next request causes a fetch.
    ///
    /// # Panics
    /// When `index` is of another configuration.
    pub fn end_cool_down(&self, index: KeySetIndex) {
        let mut place = self.place(index);
        if place.fetch == Fetch::CoolingDown {
            place.fetch = Fetch::Possible;
        }
    }

    /// For the fetching side: the set is too old to trust and nothing newer can be had.
    ///
    /// # Panics
    /// When `index` is of another configuration.
    pub fn remove(&self, index: KeySetIndex) {
        let mut place = self.place(index);
        place.state.keys = None;
        self.changed(place);
    }

    fn changed(&self, place: MutexGuard<'_, Place<K>>) {
        drop(place);
        // Behind the change, so that who sees the version sees the state.
        self.version.fetch_add(1, Ordering::Release);
    }

    fn place(&self, index: KeySetIndex) -> MutexGuard<'_, Place<K>> {
        let place = &self.places[usize::from(index.0)];
        place.lock().expect("nothing that is done under the lock panics")
    }
}

impl<K> fmt::Debug for KeyBoard<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version();
        f.debug_struct("KeyBoard").field("version", &version).finish_non_exhaustive()
    }
}

impl<K> Clone for KeySetState<K> {
    fn clone(&self) -> Self {
        KeySetState {
            keys: self.keys.clone(),
            attempt_count: self.attempt_count,
            last_failure: self.last_failure.clone(),
        }
    }
}

impl<K> fmt::Debug for KeySetState<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySetState")
            .field("has_keys", &self.keys.is_some())
            .field("attempt_count", &self.attempt_count)
            .field("last_failure", &self.last_failure)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: KeySetIndex = KeySetIndex(1);

    /// A board of two with the list of what was asked for.
    fn board() -> (KeyBoard<&'static str>, Arc<Mutex<Vec<KeySetIndex>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&asked);
        (KeyBoard::new(2, move |index| list.lock().unwrap().push(index)), asked)
    }

    fn shown(board: &KeyBoard<&'static str>) -> (u64, Option<&'static str>, u64, Option<String>) {
        let state = board.state(INDEX);
        let failure = state.last_failure.map(|reason| reason.to_string());
        (board.version(), state.keys.map(|keys| *keys), state.attempt_count, failure)
    }

    #[test]
    fn what_is_posted_is_read_and_changes_the_version() {
        let (board, _) = board();
        assert_eq!((board.len(), board.is_empty()), (2, false));
        assert_eq!(shown(&board), (0, None, 0, None));
        board.complete(INDEX, Err(Arc::from("down")));
        assert_eq!(shown(&board), (1, None, 1, Some("down".to_owned())));
        board.complete(INDEX, Ok(Arc::new("a")));
        assert_eq!(shown(&board), (2, Some("a"), 2, None));
        board.complete(INDEX, Err(Arc::from("down")));
        assert_eq!(shown(&board), (3, Some("a"), 3, Some("down".to_owned())));
        board.remove(INDEX);
        assert_eq!(shown(&board), (4, None, 3, Some("down".to_owned())));
        let other = board.state(KeySetIndex(0));
        assert_eq!((other.keys, other.attempt_count), (None, 0));
    }

    #[test]
    fn an_inherited_set_serves_until_the_first_fetch_ends() {
        let (board, _) = board();
        board.inherit(INDEX, Arc::new("a"));
        assert_eq!(shown(&board), (0, Some("a"), 0, None));
        board.complete(INDEX, Err(Arc::from("down")));
        assert_eq!(shown(&board), (1, Some("a"), 1, Some("down".to_owned())));
        board.complete(INDEX, Ok(Arc::new("b")));
        assert_eq!(shown(&board), (2, Some("b"), 2, None));
    }

    #[test]
    fn requests_cause_one_fetch_per_cool_down() {
        let (board, asked) = board();
        assert_eq!(board.request(INDEX, 0), Requested::Pending, "the first fetch is under way");
        board.complete(INDEX, Ok(Arc::new("a")));
        assert_eq!(board.request(INDEX, 1), Requested::CoolingDown);
        assert_eq!(*asked.lock().unwrap(), []);
        board.end_cool_down(INDEX);
        for _ in 0..3 {
            assert_eq!(board.request(INDEX, 1), Requested::Pending);
        }
        assert_eq!(*asked.lock().unwrap(), [INDEX]);
        board.end_cool_down(INDEX);
        assert_eq!(board.request(INDEX, 1), Requested::Pending);
        assert_eq!(
            *asked.lock().unwrap(),
            [INDEX],
            "a late end must not restart what is under way"
        );
        board.complete(INDEX, Err(Arc::from("down")));
        assert_eq!(board.request(INDEX, 2), Requested::CoolingDown);
        board.begin(INDEX);
        assert_eq!(board.request(INDEX, 2), Requested::Pending, "a retry of the fetcher's own");
        assert_eq!(*asked.lock().unwrap(), [INDEX]);
    }

    #[test]
    fn who_has_seen_less_looks_again_and_causes_nothing() {
        let (board, asked) = board();
        board.complete(INDEX, Ok(Arc::new("a")));
        assert_eq!(board.request(INDEX, 0), Requested::Pending);
        board.end_cool_down(INDEX);
        assert_eq!(board.request(INDEX, 0), Requested::Pending);
        assert_eq!(*asked.lock().unwrap(), []);
        assert_eq!(board.request(INDEX, 1), Requested::Pending);
        assert_eq!(*asked.lock().unwrap(), [INDEX]);
    }
}
