//! Composes the process: binds, pins, starts one thread per shard, waits for the stop.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::plan::{self, Plan};
use crate::auth::{KeyRing, KeySet};
use crate::broker::BrokerOptions;
use crate::config::Settings;
use crate::integrations::{self, KeySetOptions, ParsedKeys};
use crate::mesh::{self, Wake};
use crate::model::application::Applications;
use crate::model::id::ConnectionIds;
use crate::model::key_board::KeyBoard;
use crate::model::position::Epoch;
use crate::model::shard::ShardIndex;
use crate::shard::{ActiveDriver, Control, Listener, Rates, Shard, ShardSeed, Stage, somaxconn};
use crate::stdx::clock;
use crate::stdx::random;
use crate::telemetry::ShardCounters;

/// Topics without subscribers that a shard remembers at most, for their previous offsets.
const IDLE_TOPICS_MAX: usize = 100_000;

/// Why the process could not serve.
#[derive(Debug)]
pub struct LaunchError {
    /// What was being done, and with what.
    pub doing: String,
    /// What the system said.
    pub source: std::io::Error,
}

impl std::fmt::Display for LaunchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.doing, self.source)
    }
}

impl std::error::Error for LaunchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

fn doing<T>(result: std::io::Result<T>, what: impl FnOnce() -> String) -> Result<T, LaunchError> {
    result.map_err(|source| LaunchError { doing: what(), source })
}

/// Serves until told to stop.
///
/// # Errors
/// When the address, the descriptors or the driver cannot be had.
pub fn serve(settings: Settings) -> Result<(), LaunchError> {
    // Before any thread exists, so that signals reach only the thread that waits for them.
    let signals = doing(Signals::new([SIGTERM, SIGINT]), || "installing signal handlers".into())?;
    let stop_timeout = settings.server.stop_timeout;
    let applications = Arc::new(settings.applications);
    let plan = Plan::make(&settings.server, &settings.shard);
    plan::raise_descriptor_limit();
    let running =
        start(&plan, &settings.shard, &applications, settings.key_sets, settings.server.listen)?;
    super::greeting::print(running.address, &applications);
    let stopped_by = wait_for_stop(signals, running, stop_timeout);
    tracing::info!(?stopped_by, "stopped");
    Ok(())
}

/// The threads and what reaches them.
struct Running {
    address: SocketAddr,
    threads: Vec<JoinHandle<()>>,
    wakes: Vec<Arc<Wake>>,
    control: Arc<Control>,
}

fn start(
    plan: &Plan,
    options: &crate::shard::Options,
    applications: &Arc<Applications>,
    key_sets: KeySetOptions,
    listen: SocketAddr,
) -> Result<Running, LaunchError> {
    let count = plan.shard_count;
    let backlog = plan.backlog(somaxconn());
    let mesh = &options.mesh;
    let ports = doing(mesh::ports(count, mesh.capacity, mesh.pending_size_max), || {
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
    let identity = Identity::random(options.history.memory_max / usize::from(count));
    let mut address = listen;
    doing(Listener::claim(listen), || format!("listening on {listen}"))?;
    let mut running =
        Running { address, threads: Vec::new(), wakes: Vec::new(), control: Arc::clone(&control) };
    let (ready_tx, ready_rx) = mpsc::channel();
    for (index, port) in (0..count).zip(ports) {
        let bound = Listener::bind(address, backlog, &options.socket);
        let listener = doing(bound, || format!("listening on {address}"))?;
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
            store: None,
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
        let driver = doing(outcome, || format!("starting shard {}", shard.0))?;
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
            store: None,
        }
    }
}

/// Waits for a signal, then for the shards; a second signal or the timeout ends the wait.
fn wait_for_stop(mut signals: Signals, running: Running, timeout: Duration) -> &'static str {
    let tell = |stage: Stage| {
        running.control.set(stage);
        for wake in &running.wakes {
            wake.wake();
        }
    };
    let first = signals.forever().next();
    tracing::info!(signal = ?first, timeout = ?timeout, "stopping; a second signal stops at once");
    tell(Stage::Draining);
    let (done_tx, done_rx) = mpsc::channel();
    let threads = running.threads;
    let again = done_tx.clone();
    std::thread::spawn(move || {
        for thread in threads {
            thread.join().expect("a shard that panics ends the process");
        }
        let _ = done_tx.send("drained");
    });
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            let _ = again.send("second signal");
        }
    });
    let reason = done_rx.recv_timeout(timeout).unwrap_or("timeout");
    tell(Stage::Stopped);
    reason
}
