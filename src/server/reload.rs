//! SIGHUP: reads the configuration again, checks all of it, and puts it in force on every shard.
//!
//! Either everything that can be changes, or nothing does: one problem anywhere, and the former
//! settings stay, with one line in the log that names every problem. What needs a restart is named and
//! keeps its value until then. No connection is lost; whose sessions end is said in `shard/reload`.
//!
//! One thread reads, publishes and waits until every shard has taken the new snapshot over; no shard
//! ever waits for it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::cli::Reread;
use crate::auth::{KeyRing, KeySet};
use crate::config::{Change, Effect, Loaded, ServerOptions, Settings};
use crate::integrations::{self, KeySetOptions, ParsedKeys};
use crate::mesh::Wake;
use crate::model::application::Applications;
use crate::model::key_board::KeyBoard;
use crate::shard::options::SocketOptions;
use crate::shard::{Control, Options, Rates, Snapshot};
use crate::stdx::clock;
use crate::stdx::published::Published;
use crate::telemetry::{LogLevel, ReloadCounters};

/// How long shards may take to take a snapshot over before the log says so; they do it in the end.
const PATIENCE: Duration = Duration::from_secs(5);
/// Changes that the log names; the others are counted.
const NAMED_MAX: usize = 32;

/// The threads that are to learn of new settings.
pub(super) struct Audience {
    /// An address that they listen on and other machines reach, where there is one.
    pub(super) exposed: Option<SocketAddr>,
    pub(super) control: Arc<Control>,
    /// Of each shard.
    pub(super) wakes: Vec<Arc<Wake>>,
    /// The store's copy of the applications, where there is a store.
    pub(super) store: Option<Arc<Published<Applications>>>,
    pub(super) counters: Arc<ReloadCounters>,
}

/// Reads settings again.
pub(super) struct Reloader {
    reread: Reread,
    log_level: LogLevel,
    /// What the process was started with; what needs a restart is compared with it.
    started: Arc<Loaded>,
    current: Arc<Loaded>,
    snapshot: Arc<Snapshot>,
    audience: Audience,
}

/// What a reload has come to.
struct Changes {
    live: Vec<Change>,
    waiting: Vec<Change>,
}

impl Reloader {
    pub(super) fn new(
        reread: Reread,
        log_level: LogLevel,
        loaded: Loaded,
        snapshot: Arc<Snapshot>,
        audience: Audience,
    ) -> Reloader {
        let started = Arc::new(loaded);
        let current = Arc::clone(&started);
        Reloader { reread, log_level, started, current, snapshot, audience }
    }

    /// What holds for the process now.
    pub(super) fn server(&self) -> ServerOptions {
        self.current.settings.server
    }

    /// Reads everything again and puts it in force, or leaves everything as it is; either is logged.
    pub(super) fn reload(&mut self) {
        let began = clock::now();
        match self.try_reload() {
            Ok(changes) => {
                let took_ms = clock::now().duration_since(began).as_millis();
                self.audience.counters.applied(clock::unix_ms() / 1000);
                let live = Paths(&changes.live);
                tracing::info!(%live, took_ms, "reloaded");
                if !changes.waiting.is_empty() {
                    let keys = Paths(&changes.waiting);
                    tracing::warn!(%keys, "these changes need a restart and were not applied");
                }
            }
            Err(problem) => {
                self.audience.counters.refused();
                let lines: Vec<&str> = problem.lines().map(str::trim).collect();
                let problem = lines.join(" | ");
                tracing::error!(%problem, "not reloaded: the former settings stay in force");
            }
        }
    }

    fn try_reload(&mut self) -> Result<Changes, String> {
        let new = (self.reread)()?;
        let changes = Changes::between(&self.started, &self.current, &new);
        if !changes.live.is_empty() {
            self.put_in_force(&new.settings)?;
        }
        // Also without any change: the files that are named may hold new certificates.
        renew_certificates(&self.started.settings, &new.settings);
        self.current = Arc::new(new);
        Ok(changes)
    }

    fn put_in_force(&mut self, settings: &Settings) -> Result<(), String> {
        let Audience { exposed, control, wakes, store, .. } = &self.audience;
        let snapshot = Arc::new(self.succeeded_by(settings)?);
        check_exposure(*exposed, &snapshot.applications)?;
        // The store first: whatever names a new application comes from a shard that has the snapshot.
        if let Some(store) = store {
            store.publish(Arc::clone(&snapshot.applications), 0);
        }
        control.snapshots.publish(Arc::clone(&snapshot), wakes.len());
        for wake in wakes {
            wake.wake();
        }
        self.log_level.set(settings.log.level);
        self.snapshot = snapshot;
        let missing_count = control.snapshots.wait(PATIENCE);
        if missing_count > 0 {
            tracing::warn!(missing_count, "some shards have not taken the new settings over yet");
        }
        Ok(())
    }

    fn succeeded_by(&self, settings: &Settings) -> Result<Snapshot, String> {
        let former = &self.snapshot;
        let applications = Applications::clone(&settings.applications);
        let applications = applications
            .succeeding(&former.applications, self.audience.store.is_some())
            .map_err(|problem| problem.to_string())?;
        let key_ring = KeyRing::new(&applications).map_err(|problem| problem.to_string())?;
        let keeps_board = applications.key_sets() == former.applications.key_sets()
            && settings.key_sets == self.current.settings.key_sets;
        let key_board = if keeps_board {
            Arc::clone(&former.key_board)
        } else {
            let former = Some((&*former.applications, &*former.key_board));
            fetch_key_sets(&applications, former, settings.key_sets, self.audience.wakes.clone())
                .map_err(|error| format!("key sets cannot be fetched: {error}"))?
        };
        Ok(Snapshot {
            options: Arc::new(live_options(&former.options, &settings.shard)),
            rates: Arc::new(former.rates.succeeded_by(&applications)),
            applications: Arc::new(applications),
            key_ring: Arc::new(key_ring),
            key_board,
            history_size_max: history_size_max(&settings.shard, self.audience.wakes.len()),
        })
    }
}

impl Changes {
    /// What needs a restart is what differs from the start, and for an application that came later what
    /// differs from its last state: what goes back to the start's is in force anyhow.
    fn between(started: &Loaded, current: &Loaded, new: &Loaded) -> Changes {
        let needs_restart = |change: &Change| change.effect == Effect::Restart;
        let came_later = |change: &Change| {
            let id = change.application();
            id.is_some_and(|id| started.settings.applications.find(id).is_none())
        };
        let mut waiting = started.diff(new);
        waiting.retain(needs_restart);
        let (later, mut live): (Vec<_>, Vec<_>) =
            current.diff(new).into_iter().partition(needs_restart);
        let is_told = |change: &Change| waiting.iter().any(|told| told.path == change.path);
        live.retain(|change| !is_told(change));
        let later: Vec<_> =
            later.into_iter().filter(|change| came_later(change) && !is_told(change)).collect();
        waiting.extend(later);
        Changes { live, waiting }
    }
}

/// What the shards start with; `wakes` are woken when a key set was fetched.
pub(super) fn first_snapshot(
    settings: &Settings,
    shard_count: u16,
    wakes: Vec<Arc<Wake>>,
) -> io::Result<Snapshot> {
    let applications = Arc::clone(&settings.applications);
    let key_board = fetch_key_sets(&applications, None, settings.key_sets, wakes)?;
    let key_ring = KeyRing::new(&applications).expect("the configuration has checked every key");
    Ok(Snapshot {
        options: Arc::new(settings.shard),
        rates: Arc::new(Rates::new(&applications)),
        applications,
        key_ring: Arc::new(key_ring),
        key_board,
        history_size_max: history_size_max(&settings.shard, usize::from(shard_count)),
    })
}

/// Bytes of history that each shard may keep in memory.
fn history_size_max(options: &Options, shard_count: usize) -> usize {
    options.history.memory_max / shard_count
}

/// The new options, with the former ones where a restart is needed.
fn live_options(former: &Options, new: &Options) -> Options {
    let socket = SocketOptions { accept_rate: new.socket.accept_rate, ..former.socket };
    Options { driver: former.driver, send: former.send, mesh: former.mesh, socket, ..*new }
}

/// Listeners that speak TLS, and go on to do so, take over the certificates that were read with `new`.
fn renew_certificates(started: &Settings, new: &Settings) {
    for listener in &started.listeners {
        let successor = new.listeners.iter().find(|other| other.address == listener.address);
        let successor = successor.and_then(|other| other.seam.tls.as_ref());
        if let (Some(tls), Some(successor)) = (&listener.seam.tls, successor) {
            tls.replace_by(successor);
        }
    }
}

/// Whoever reaches the listener may use an open application. The new file was judged by the address
/// that it names; what counts is the one that is listened on.
fn check_exposure(exposed: Option<SocketAddr>, applications: &Applications) -> Result<(), String> {
    let mut all = applications.iter();
    let open = all.find(|(_, application)| application.open && application.enabled);
    match (open, exposed) {
        (Some((_, application)), Some(address)) => Err(format!(
            "the application `{}` is open to everyone without a key, and the broker listens on \
             {address} until it is restarted",
            application.id
        )),
        _ => Ok(()),
    }
}

/// Has the key sets of every application fetched, and every shard woken when one was.
fn fetch_key_sets(
    applications: &Applications,
    former: Option<(&Applications, &KeyBoard<KeySet>)>,
    options: KeySetOptions,
    wakes: Vec<Arc<Wake>>,
) -> io::Result<Arc<KeyBoard<KeySet>>> {
    let parse = |document: &[u8]| {
        let keys = KeySet::parse(document)?;
        Ok(ParsedKeys { usable_count: keys.len(), keys })
    };
    let wake_all = move || {
        for wake in &wakes {
            wake.wake();
        }
    };
    let former = former.map(|(applications, board)| (applications.key_sets(), board));
    integrations::start(applications.key_sets(), former, options, parse, wake_all)
}

/// Changes by their keys alone: values may be nobody's business who reads a log.
struct Paths<'a>(&'a [Change]);

impl fmt::Display for Paths<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        for (index, change) in self.0.iter().take(NAMED_MAX).enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{}", change.path)?;
        }
        match self.0.len().saturating_sub(NAMED_MAX) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, ConfigFile, Sources};

    fn load(text: &str) -> Loaded {
        let file = ConfigFile { name: "f".to_owned(), text: text.to_owned() };
        let read = |_: &std::path::Path| Err(io::Error::from(io::ErrorKind::NotFound));
        let sources =
            Sources { file: Some(file), environment: Vec::new(), flags: Vec::new(), read: &read };
        config::load(&sources).unwrap_or_else(|error| panic!("{error}"))
    }

    /// `[live, waiting]` of three files, one after the other.
    fn check(files: [&str; 3], expected: [&str; 2]) {
        let [started, current, new] = files.map(load);
        let Changes { live, waiting } = Changes::between(&started, &current, &new);
        assert_eq!([Paths(&live).to_string(), Paths(&waiting).to_string()], expected);
    }

    #[test]
    fn what_waits_for_the_restart_is_told_until_it_is_as_it_was() {
        let app = |own: &str| format!("[[applications]]\nid = \"a\"\nopen = true\n{own}");
        let with = |process: &str, own: &str| format!("{process}\n{}", app(own));
        let (plain, other) = (with("", ""), with("shards.mesh.capacity = 7", ""));
        let nothing = "nothing";
        check([&plain, &plain, &plain], [nothing, nothing]);
        check([&plain, &plain, &other], [nothing, "shards.mesh.capacity"]);
        check([&plain, &other, &other], [nothing, "shards.mesh.capacity"]);
        check([&plain, &other, &plain], [nothing, nothing]);
        let store = "store.path = \"/s\"";
        let plain = with(store, "");
        let durable = with(store, "durable = true");
        let limited = with(store, "durable = true\nhistory.count_max = 7");
        check([&plain, &plain, &durable], [nothing, "applications[a].durable"]);
        let both = "applications[a].durable, applications[a].history.count_max";
        check([&plain, &durable, &limited], [nothing, both]);
        check([&durable, &durable, &limited], ["applications[a].history.count_max", nothing]);
        check([&plain, &durable, &plain], [nothing, nothing]);
    }

    #[test]
    fn an_application_that_came_later_has_its_topics_as_it_came() {
        let with = |later: &str| {
            let demo = "store.path = \"/s\"\n[[applications]]\nid = \"demo\"\nopen = true\n";
            format!("{demo}{later}")
        };
        let later = |own: &str| with(&format!("[[applications]]\nid = \"b\"\nopen = true\n{own}"));
        let (none, plain, durable) = (with(""), later(""), later("durable = true"));
        check([&none, &none, &durable], ["applications[b]", "nothing"]);
        check([&none, &plain, &durable], ["nothing", "applications[b].durable"]);
        let without_store = load("[[applications]]\nid = \"demo\"\nopen = true\n");
        let changes = Changes::between(&without_store, &without_store, &load(&durable));
        assert_eq!(Paths(&changes.waiting).to_string(), "store.path, applications[b]");
        assert!(changes.live.is_empty());
    }

    #[test]
    fn what_needs_a_restart_keeps_its_value_and_the_rest_is_new() {
        let former = load("").settings.shard;
        let text = "shards.driver = \"epoll\"\nshards.send = \"direct\"\nshards.backlog = 7\n\
                    shards.connections_max = 7\nshards.socket.send_size = 7\nshards.mesh.capacity = 7\n\
                    shards.accept_rate = \"7/s\"\nshards.turn.reads_max = 7\nsse.topics_max = 7\n";
        let new = load(text).settings.shard;
        let mut expected = former;
        expected.socket.accept_rate = new.socket.accept_rate;
        expected.turn.reads_max = 7;
        expected.sse.topics_max = 7;
        assert_eq!(live_options(&former, &new), expected);
        assert_ne!(former, expected);
    }

    #[test]
    fn an_open_application_is_judged_by_where_the_broker_really_listens() {
        let applications = load("").settings.applications;
        assert!(check_exposure(None, &applications).is_ok());
        let problem = check_exposure(Some(([10, 0, 0, 1], 80).into()), &applications).unwrap_err();
        assert!(problem.contains("`demo`") && problem.contains("10.0.0.1:80"), "{problem}");
    }

    #[test]
    fn a_long_list_is_cut() {
        let change = |number: usize| Change {
            path: format!("k{number}"),
            what: crate::config::Difference::Added,
            effect: Effect::Live,
        };
        let changes: Vec<Change> = (0..NAMED_MAX + 3).map(change).collect();
        let text = Paths(&changes).to_string();
        assert!(text.starts_with("k0, k1, ") && text.ends_with("k31 and 3 more"), "{text}");
    }
}
