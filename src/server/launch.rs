//! Composes the process: binds, pins, starts one thread per shard, waits for the stop.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::plan::{self, Plan};
use crate::auth::{KeyRing, KeySet};
use crate::broker::{BrokerOptions, Parcel};
use crate::config::{ServerOptions, Settings};
use crate::integrations::{self, KeySetOptions, ParsedKeys};
use crate::mesh::{self, Port, Wake};
use crate::model::application::Applications;
use crate::model::code::StartFailure;
use crate::model::id::ConnectionIds;
use crate::model::key_board::KeyBoard;
use crate::model::position::Epoch;
use crate::model::shard::ShardIndex;
use crate::model::store::StoreIdentity;
use crate::shard::{
    ActiveDriver, AdminDoor, Control, FollowBoard, Listener, Rates, Shard, ShardSeed, Stage,
    somaxconn,
};
use crate::stdx::clock;
use crate::stdx::random;
use crate::store::{self, Database, StoreOptions, StoreThread};
use crate::telemetry::{ReloadCounters, ShardCounters};

/// Topics without subscribers that a shard remembers at most, for their previous offsets.
const IDLE_TOPICS_MAX: usize = 100_000;

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
    fn of(self, failure: StartFailure) -> LaunchError {
        LaunchError { failure, ..self }
    }
}

impl std::error::Error for LaunchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

fn doing<T, E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    result: Result<T, E>,
    what: impl FnOnce() -> String,
) -> Result<T, LaunchError> {
    result.map_err(|source| LaunchError {
        failure: StartFailure::Resources,
        doing: what(),
        source: source.into(),
    })
}

/// Serves until told to stop.
///
/// # Errors
/// When the address, the descriptors or the driver cannot be had.
pub fn serve(settings: Settings) -> Result<(), LaunchError> {
    // Before any thread exists, so that signals reach only the thread that waits for them.
    let signals = doing(Signals::new([SIGTERM, SIGINT]), || "installing signal handlers".into())?;
    if !settings.server.huge_pages {
        super::huge_pages::disable();
    }
    let applications = Arc::new(settings.applications);
    let plan = Plan::make(&settings.server, &settings.shard);
    plan::raise_descriptor_limit();
    let database = settings.store.map(|options| open_store(&applications, options)).transpose()?;
    let listen = settings.server.listen;
    let admin = doing(super::admin::open(settings.admin), || {
        "listening on the address of admin.listen".into()
    })
    .map_err(|error| error.of(StartFailure::AdminAddress))?;
    let doors = Doors { listen, admin };
    let running = start(&plan, &settings.shard, &applications, settings.key_sets, doors, database)?;
    super::greeting::print(running.address, &applications);
    let stopped_by = wait_for_stop(signals, running, &settings.server);
    tracing::info!(?stopped_by, "stopped");
    Ok(())
}

/// The threads and what reaches them.
struct Running {
    address: SocketAddr,
    threads: Vec<JoinHandle<()>>,
    wakes: Vec<Arc<Wake>>,
    control: Arc<Control>,
    store: Option<StoreThread>,
}

/// Where clients and operators come in.
struct Doors {
    listen: SocketAddr,
    admin: Option<AdminDoor>,
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
    options: &crate::shard::Options,
    applications: &Arc<Applications>,
    key_sets: KeySetOptions,
    doors: Doors,
    database: Option<Database>,
) -> Result<Running, LaunchError> {
    let count = plan.shard_count;
    let backlog = plan.backlog(somaxconn());
    let mesh = &options.mesh;
    // The store is one more member of the mesh, behind the shards.
    let port_count = count + u16::from(database.is_some());
    let mut ports = doing(mesh::ports(port_count, mesh.capacity, mesh.pending_size_max), || {
        "making the mesh between shards".into()
    })?;
    let counters = ShardCounters::for_shards(usize::from(count), applications.iter().count());
    let control = Arc::new(Control::new(count));
    let key_ring =
        Arc::new(KeyRing::new(applications).expect("the configuration has checked every key"));
    let wakes: Vec<Arc<Wake>> = ports.iter().map(|port| Arc::clone(port.wake())).collect();
    let key_board = doing(fetch_key_sets(applications, key_sets, wakes), || {
        "starting the thread that fetches key sets".into()
    })?;
    let rates = Arc::new(Rates::new(applications));
    let identity = Identity {
        store: database.as_ref().map(Database::identity),
        ..Identity::random(options.history.memory_max / usize::from(count))
    };
    let store_counters = database.as_ref().map(|database| Arc::clone(database.counters()));
    let store = match (database, ports.pop_if(|_| port_count > count)) {
        (Some(database), Some(port)) => Some(start_store(database, port)?),
        _ => None,
    };
    let reloads = Arc::new(ReloadCounters::started(clock::unix_ms() / 1000));
    let Doors { listen, mut admin } = doors;
    let follow_board = Arc::new(FollowBoard::new(Arc::clone(ports[0].wake())));
    let mut address = listen;
    doing(Listener::claim(listen), || format!("listening on {listen}"))
        .map_err(|error| error.of(StartFailure::Address))?;
    let mut running = Running {
        address,
        threads: Vec::new(),
        wakes: Vec::new(),
        control: Arc::clone(&control),
        store,
    };
    let (ready_tx, ready_rx) = mpsc::channel();
    for (index, port) in (0..count).zip(ports) {
        let bound = Listener::bind(address, backlog, &options.socket);
        let listener = doing(bound, || format!("listening on {address}"))
            .map_err(|error| error.of(StartFailure::Address))?;
        address = listener.address();
        running.wakes.push(Arc::clone(port.wake()));
        let seed = ShardSeed {
            options: *options,
            connections_max: plan.connections_max,
            port,
            listener,
            broker: identity.broker(ShardIndex(index), count),
            applications: Arc::clone(applications),
            counters: Arc::clone(&counters),
            control: Arc::clone(&control),
            started_unix_ms: clock::unix_ms(),
            key_ring: Arc::clone(&key_ring),
            key_board: Arc::clone(&key_board),
            rates: Arc::clone(&rates),
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
    running.address = address;
    for _ in 0..count {
        let (shard, outcome) = ready_rx.recv().expect("each shard reports once");
        let driver = doing(outcome, || format!("starting shard {}", shard.0))
            .map_err(|error| error.of(StartFailure::Shard))?;
        tracing::info!(shard = shard.0, %driver, cpu = ?plan.cpus.get(shard.index()).map(|c| c.id), "shard ready");
    }
    Ok(running)
}

/// Has the key sets of every application fetched, and every shard woken when one was.
fn fetch_key_sets(
    applications: &Applications,
    options: KeySetOptions,
    wakes: Vec<Arc<Wake>>,
) -> std::io::Result<Arc<KeyBoard<KeySet>>> {
    let parse = |document: &[u8]| {
        let keys = KeySet::parse(document)?;
        Ok(ParsedKeys { usable_count: keys.len(), keys })
    };
    let wake_all = move || {
        for wake in &wakes {
            wake.wake();
        }
    };
    integrations::start(applications.key_sets(), options, parse, wake_all)
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

/// Waits for a signal, then for a balancer to notice, then for the shards; a second signal or the
/// timeout ends the wait.
fn wait_for_stop(signals: Signals, running: Running, options: &ServerOptions) -> &'static str {
    let tell = |stage: Stage| {
        running.control.set(stage);
        for wake in &running.wakes {
            wake.wake();
        }
    };
    let (signal_tx, signal_rx) = mpsc::channel();
    let done_tx = signal_tx.clone();
    let mut signals = signals;
    std::thread::spawn(move || {
        for _ in signals.forever() {
            let _ = signal_tx.send("second signal");
        }
    });
    let _first = signal_rx.recv();
    let ServerOptions { stop_timeout, stop_delay, .. } = *options;
    tracing::info!(?stop_timeout, ?stop_delay, "stopping; a second signal stops at once");
    let ends_at = clock::now() + stop_timeout;
    tell(Stage::Leaving);
    if signal_rx.recv_timeout(stop_delay).is_ok() {
        tell(Stage::Stopped);
        return "second signal";
    }
    tell(Stage::Draining);
    let threads = running.threads;
    std::thread::spawn(move || {
        for thread in threads {
            thread.join().expect("a shard that panics ends the process");
        }
        let _ = done_tx.send("drained");
    });
    let left = ends_at.saturating_duration_since(clock::now());
    let reason = signal_rx.recv_timeout(left).unwrap_or("timeout");
    tell(Stage::Stopped);
    if let Some(store) = running.store {
        // What it acknowledged is safe already; this folds its log into the file.
        store.stop();
        let _ = store.join();
    }
    reason
}
