//! Composes the process: binds, pins, starts one thread per shard, waits for the stop.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use super::cli::Reread;
use super::lifecycle::{Lifecycle, Shards};
use super::listening::Listening;
use super::plan::{self, Plan};
use super::reload::{Audience, Reloader, first_snapshot};
use super::signals::Events;
use crate::broker::{BrokerOptions, Parcel};
use crate::config::{Loaded, ServerOptions, Settings};
use crate::mesh::{self, Port, Wake};
use crate::model::application::Applications;
use crate::model::code::StartFailure;
use crate::model::id::ConnectionIds;
use crate::model::position::Epoch;
use crate::model::shard::ShardIndex;
use crate::model::store::StoreIdentity;
use crate::shard::{
    ActiveDriver, AdminDoor, Control, FollowBoard, Shard, ShardSeed, Snapshot, Stage, somaxconn,
};
use crate::stdx::clock;
use crate::stdx::published::Published;
use crate::stdx::random;
use crate::store::{self, Database, StoreOptions, StoreThread};
use crate::telemetry::{LogLevel, ReloadCounters, ShardCounters};

/// Topics without subscribers that a shard remembers at most, for their previous offsets.
const IDLE_TOPICS_MAX: usize = 100_000;

/// Applications added by reloads that have publish counters of their own; further ones share one.
const APPLICATIONS_ADDED_MAX: usize = 256;

/// Why the process could not serve.
#[derive(Debug)]
pub struct LaunchError {
    /// Which kind of failure it is.
    pub failure: StartFailure,
    /// What was being done, and with what.
    pub doing: String,
    /// What the system said.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl std::fmt::Display for LaunchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.doing, self.source)
    }
}

impl LaunchError {
    /// The same error, known to be of this kind.
    pub(super) fn of(self, failure: StartFailure) -> LaunchError {
        LaunchError { failure, ..self }
    }
}

impl std::error::Error for LaunchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

pub(super) fn doing<T, E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    result: Result<T, E>,
    what: impl FnOnce() -> String,
) -> Result<T, LaunchError> {
    result.map_err(|source| LaunchError {
        failure: StartFailure::Resources,
        doing: what(),
        source: source.into(),
    })
}

/// Serves until told to stop; reads the settings again when told to.
///
/// # Errors
/// When the address, the descriptors or the driver cannot be had.
pub fn serve(loaded: Loaded, reread: Reread, log_level: LogLevel) -> Result<(), LaunchError> {
    // Before any thread exists, so that signals reach only the thread that waits for them.
    let events = doing(Events::install(), || "installing signal handlers".into())?;
    let settings = &loaded.settings;
    if !settings.server.huge_pages {
        super::huge_pages::disable();
    }
    let listening = Listening::new(settings);
    let plan = Plan::make(&settings.server, &settings.shard);
    plan::raise_descriptor_limit();
    let admin = doing(super::admin::open(settings.admin.clone()), || {
        "listening on the address of admin.listen".into()
    })
    .map_err(|error| error.of(StartFailure::AdminAddress))?;
    let (running, snapshot) = start(&plan, settings, &listening, admin)?;
    super::greeting::print(&running.urls, &settings.applications);
    let lifecycle = Lifecycle::from_environment();
    doing(lifecycle.serving(running.shards()), || {
        "starting the thread that tells the service manager".into()
    })?;
    let audience = Audience {
        exposed: running.exposed,
        control: Arc::clone(&running.control),
        wakes: running.wakes.clone(),
        store: running.store_reloads.as_ref().map(Arc::clone),
        counters: Arc::clone(&running.reloads),
    };
    let mut reloader = Reloader::new(reread, log_level, loaded, snapshot, audience);
    events.await_stop(|| {
        lifecycle.reloading();
        reloader.reload();
        lifecycle.ready();
    });
    let stopped_by = stop(&events, running, reloader.server(), &lifecycle);
    tracing::info!(?stopped_by, "stopped");
    Ok(())
}

/// The threads and what reaches them.
struct Running {
    /// How clients reach it.
    urls: Vec<String>,
    /// An address that other machines reach, where there is one.
    exposed: Option<SocketAddr>,
    threads: Vec<JoinHandle<()>>,
    wakes: Vec<Arc<Wake>>,
    control: Arc<Control>,
    store: Option<StoreThread>,
    store_reloads: Option<Arc<Published<Applications>>>,
    reloads: Arc<ReloadCounters>,
    counters: Arc<[ShardCounters]>,
    driver: ActiveDriver,
}

impl Running {
    /// For whom looks after the shards.
    fn shards(&self) -> Shards {
        Shards {
            counters: Arc::clone(&self.counters),
            wakes: self.wakes.clone(),
            control: Arc::clone(&self.control),
            driver: self.driver,
        }
    }
}

/// Opens the store's file, or makes it.
fn open_store(
    applications: &Arc<Applications>,
    options: StoreOptions,
) -> Result<Database, LaunchError> {
    let path = options.path.display().to_string();
    doing(Database::open(Arc::clone(applications), options), || format!("opening the store {path}"))
        .map_err(|error| error.of(StartFailure::Store))
}

/// Starts the store's thread at the mesh's last port.
fn start_store(database: Database, port: Port<Parcel>) -> Result<StoreThread, LaunchError> {
    let unwrap = |parcel| match parcel {
        Parcel::Store(request) => Some(request),
        _ => None,
    };
    // Durable publishes would wait for it for ever.
    let on_panic = || std::process::abort();
    doing(store::start(database, port, unwrap, Parcel::Stored, on_panic), || {
        "starting the store's thread".into()
    })
}

fn start(
    plan: &Plan,
    settings: &Settings,
    listening: &Listening,
    mut admin: Option<AdminDoor>,
) -> Result<(Running, Arc<Snapshot>), LaunchError> {
    let Settings { shard: options, applications, .. } = settings;
    let store_reloads = Arc::new(Published::new(Arc::clone(applications)));
    let open = |options| open_store(applications, options);
    let database = settings.store.clone().map(open).transpose()?;
    let database = database.map(|database| database.following(Arc::clone(&store_reloads)));
    let count = plan.shard_count;
    let backlog = plan.backlog(somaxconn());
    let mesh = &options.mesh;
    // The store is one more member of the mesh, behind the shards.
    let port_count = count + u16::from(database.is_some());
    let mut ports = doing(mesh::ports(port_count, mesh.capacity, mesh.pending_size_max), || {
        "making the mesh between shards".into()
    })?;
    let application_count = applications.iter().len() + APPLICATIONS_ADDED_MAX;
    let counters = ShardCounters::for_shards(usize::from(count), application_count);
    let wakes: Vec<Arc<Wake>> = ports.iter().map(|port| Arc::clone(port.wake())).collect();
    let snapshot = Arc::new(doing(first_snapshot(settings, count, wakes), || {
        "starting the thread that fetches key sets".into()
    })?);
    let control = Arc::new(Control::new(count, Arc::clone(&snapshot)));
    let identity = Identity {
        store: database.as_ref().map(Database::identity),
        ..Identity::random(snapshot.history_size_max)
    };
    let store_counters = database.as_ref().map(|database| Arc::clone(database.counters()));
    let store = match (database, ports.pop_if(|_| port_count > count)) {
        (Some(database), Some(port)) => Some(start_store(database, port)?),
        _ => None,
    };
    let reloads = Arc::new(ReloadCounters::started(clock::unix_ms() / 1000));
    let bound = listening.bind(plan, backlog, &options.socket, applications)?;
    let follow_board = Arc::new(FollowBoard::new(Arc::clone(ports[0].wake())));
    let mut running = Running {
        urls: bound.urls,
        exposed: bound.exposed,
        threads: Vec::new(),
        wakes: Vec::new(),
        control: Arc::clone(&control),
        store_reloads: store.is_some().then_some(store_reloads),
        reloads: Arc::clone(&reloads),
        store,
        counters: Arc::clone(&counters),
        driver: ActiveDriver::Epoll,
    };
    let (ready_tx, ready_rx) = mpsc::channel();
    for (index, (port, listeners)) in (0..count).zip(ports.into_iter().zip(bound.shards)) {
        running.wakes.push(Arc::clone(port.wake()));
        let seed = ShardSeed {
            snapshot: Arc::clone(&snapshot),
            connections_max: plan.connections_max,
            port,
            listeners,
            broker: identity.broker(ShardIndex(index), count),
            counters: Arc::clone(&counters),
            control: Arc::clone(&control),
            started_unix_ms: clock::unix_ms(),
            store: identity.store.map(|_| ShardIndex(count)),
            store_counters: store_counters.clone(),
            reloads: Arc::clone(&reloads),
            // The first shard serves it.
            admin: admin.take(),
            follow_board: Arc::clone(&follow_board),
        };
        running.threads.push(spawn(
            seed,
            plan.cpus.get(usize::from(index)).copied(),
            ready_tx.clone(),
        )?);
    }
    drop(ready_tx);
    for _ in 0..count {
        let (shard, outcome) = ready_rx.recv().expect("each shard reports once");
        let driver = doing(outcome, || format!("starting shard {}", shard.0))
            .map_err(|error| error.of(StartFailure::Shard))?;
        running.driver = driver;
        tracing::info!(shard = shard.0, %driver, cpu = ?plan.cpus.get(shard.index()).map(|c| c.id), "shard ready");
    }
    // Nobody else may hold it: with its last holder the key sets of the start are fetched no more.
    Ok((running, snapshot))
}

type Report = (ShardIndex, std::io::Result<ActiveDriver>);

fn spawn(
    seed: ShardSeed,
    cpu: Option<core_affinity::CoreId>,
    ready: mpsc::Sender<Report>,
) -> Result<JoinHandle<()>, LaunchError> {
    let shard = seed.broker.shard;
    let thread = std::thread::Builder::new().name(format!("shard-{}", shard.0));
    let spawned = thread.spawn(move || {
        if let Some(cpu) = cpu
            && !core_affinity::set_for_current(cpu)
        {
            tracing::warn!(shard = shard.0, cpu = cpu.id, "the thread could not be pinned");
        }
        let report = ready.clone();
        let life = AssertUnwindSafe(|| {
            Shard::run(seed, move |driver| {
                // The launcher waits for exactly this; if it has given up, so does the process.
                let _ = report.send((shard, Ok(driver)));
            })
        });
        match catch_unwind(life) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let _ = ready.send((shard, Err(error)));
            }
            // The order of this shard's topics is gone with it, and publishes to them would never
            // be answered: half a broker is worse than a restart.
            Err(_panic) => {
                tracing::error!(shard = shard.0, "a shard panicked; the process ends");
                std::process::abort();
            }
        }
    });
    doing(spawned, || format!("starting the thread of shard {}", shard.0))
}

/// What all shards of one process life share.
struct Identity {
    epoch: Epoch,
    run: u64,
    seed: u64,
    ids: ConnectionIds,
    /// Bytes that each shard may keep in memory.
    history_size_max: usize,
    store: Option<StoreIdentity>,
}

impl Identity {
    fn random(history_size_max: usize) -> Identity {
        #[expect(clippy::cast_possible_truncation, reason = "any 32 random bits")]
        let epoch = Epoch(random::word() as u32);
        Identity {
            epoch,
            run: random::word(),
            seed: random::word(),
            ids: ConnectionIds::random(),
            history_size_max,
            store: None,
        }
    }

    fn broker(&self, shard: ShardIndex, shard_count: u16) -> BrokerOptions {
        BrokerOptions {
            shard,
            shard_count,
            epoch: self.epoch,
            run: self.run,
            seed: self.seed,
            ids: self.ids.clone(),
            idle_topics_max: IDLE_TOPICS_MAX,
            history_size_max: self.history_size_max,
            store: self.store,
        }
    }
}

/// Waits for a balancer to notice, then for the shards; a second signal or the timeout ends the wait.
fn stop(
    events: &Events,
    running: Running,
    options: ServerOptions,
    lifecycle: &Lifecycle,
) -> &'static str {
    let tell = |stage: Stage| {
        running.control.set(stage);
        for wake in &running.wakes {
            wake.wake();
        }
    };
    let ServerOptions { stop_timeout, stop_delay, .. } = options;
    tracing::info!(?stop_timeout, ?stop_delay, "stopping; a second signal stops at once");
    lifecycle.stopping(stop_timeout);
    let ends_at = clock::now() + stop_timeout;
    tell(Stage::Leaving);
    if events.await_end(clock::now() + stop_delay).is_some() {
        tell(Stage::Stopped);
        return "second signal";
    }
    tell(Stage::Draining);
    let (threads, drained) = (running.threads, events.drained());
    std::thread::spawn(move || {
        for thread in threads {
            thread.join().expect("a shard that panics ends the process");
        }
        drained.tell();
    });
    let reason = events.await_end(ends_at).unwrap_or("timeout");
    tell(Stage::Stopped);
    if let Some(store) = running.store {
        // What it acknowledged is safe already; this folds its log into the file.
        store.stop();
        let _ = store.join();
    }
    reason
}
