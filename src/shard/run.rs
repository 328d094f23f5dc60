//! The shard and its turn.
//!
//! One turn: take what is ready (sockets, other shards, timers), let the broker work, deliver each
//! topic's run, hand parcels to other shards, send to each dirty connection once, remove what
//! ended. Then park until something is ready, unless something was left over.

use std::os::fd::AsFd as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::admin::AdminDoor;
use super::backlog::Backlog;
use super::control::{Control, Stage};
use super::delivery::Delivery;
use super::draining::Draining;
use super::follow::{FollowBoard, Following};
use super::listeners::Listeners;
use super::rates::Rates;
use super::read::INPUT_SIZE;
use super::readiness::{Readiness, Ready, Source};
use super::reload::{Snapshot, accept_pace};
use super::runtime::{ActiveDriver, Parker, ShardRuntime};
use super::send::{DirectSender, RingSender, SendResult, Sender};
use super::timers::SLOT;
use super::transport::HandshakeTime;
use super::verifying::Verifying;
use crate::auth::Authenticator;
use crate::broker::{Broker, BrokerOptions, Parcel};
use crate::mesh::{Port, Wake};
use crate::model::close::CloseCause;
use crate::model::shard::ShardIndex;
use crate::proto::encode::Encoder;
use crate::proto::http1::{Date, Scratch};
use crate::proto::json::Scanner;
use crate::proto::ws::Inflater;
use crate::stdx::clock::{self, Clock};
use crate::stdx::published::Seen;
use crate::stdx::rate::{LocalGcra, Measure};
use crate::stdx::slab::{Key, Slab};
use crate::stdx::wheel::Wheel;
use crate::telemetry::{RateLimit, ReloadCounters, ShardCounters, StoreCounters};

/// Deepest nesting of JSON that is taken in.
const JSON_DEPTH_MAX: usize = 128;

/// Longest park. Ticks compare over 24 days only, so the wheel has to be turned before.
const PARK_MAX: Duration = Duration::from_hours(1);

/// How soon a full queue of another shard is tried again.
const MESH_RETRY: Duration = Duration::from_millis(1);

/// Everything a shard is made of that can be made before its thread runs.
#[derive(Debug)]
pub struct ShardSeed {
    /// What the configuration says, until it is read again.
    pub snapshot: Arc<Snapshot>,
    /// Most connections it may hold.
    pub connections_max: usize,
    /// Its end of the mesh.
    pub port: Port<Parcel>,
    /// Its listening sockets.
    pub listeners: Listeners,
    /// What its broker is told.
    pub broker: BrokerOptions,
    /// All shards' counters; it writes its own.
    pub counters: Arc<[ShardCounters]>,
    /// The stop, and what is read again.
    pub control: Arc<Control>,
    /// When the process started, Unix milliseconds, for its metrics.
    pub started_unix_ms: u64,
    /// The store's place in the mesh, where there is one.
    pub store: Option<ShardIndex>,
    /// Its counters.
    pub store_counters: Option<Arc<StoreCounters>>,
    /// What became of reloads, for the metrics.
    pub reloads: Arc<ReloadCounters>,
    /// The admin door, on one of the shards.
    pub admin: Option<AdminDoor>,
    /// Who follows what.
    pub follow_board: Arc<FollowBoard>,
}

/// One shard on its own thread.
pub struct Shard {
    pub(super) delivery: Delivery,
    pub(super) broker: Broker,
    pub(super) readiness: Readiness,
    pub(super) listeners: Listeners,
    pub(super) handshake_time: HandshakeTime,
    pub(super) sender: Sender,
    pub(super) wheel: Wheel,
    pub(super) scanner: Scanner,
    pub(super) inflater: Option<Inflater>,
    pub(super) authenticator: Authenticator,
    pub(super) verifying: Verifying,
    pub(super) rates: Arc<Rates>,
    pub(super) scratch: Option<Box<Scratch>>,
    pub(super) input: Vec<u8>,
    pub(super) send_results: Vec<SendResult>,
    pub(super) fired: Vec<Key>,
    pub(super) accept_log: RateLimit,
    pub(super) refusal_log: RateLimit,
    pub(super) close_log: RateLimit,
    pub(super) connections_max: usize,
    /// How fast sockets are accepted, where that is limited.
    pub(super) accept_pace: Option<(Measure, LocalGcra)>,
    pub(super) stage: Stage,
    pub(super) started_unix_ms: u64,
    pub(super) store_counters: Option<Arc<StoreCounters>>,
    pub(super) reloads: Arc<ReloadCounters>,
    pub(super) admin: Option<AdminDoor>,
    /// Wall clock of this turn, Unix microseconds.
    pub(super) time_us: u64,
    ready: Vec<Ready>,
    again: Vec<Key>,
    pub(super) control: Arc<Control>,
    /// Which of the control's snapshots it uses.
    pub(super) snapshot_seen: Seen,
    clock: Clock,
    wake: Arc<Wake>,
    /// When the last turn ended; the same as Unix microseconds.
    pub(super) ended: Instant,
    pub(super) ended_us: u64,
    pub(super) accept_resumes: Option<Instant>,
    deliver_since: Option<Instant>,
    /// Connections that the stop has still to close.
    pub(super) draining: Option<Draining>,
    /// The stop has ended this shard's last connection.
    is_drained: bool,
    /// Another shard's queue is full and batches wait here.
    mesh_is_behind: bool,
}

impl Shard {
    /// Runs a shard on this thread until the process stops. `on_ready` is called once it serves.
    ///
    /// # Errors
    /// When the driver that is asked for cannot be had, or descriptors have run out.
    pub fn run(seed: ShardSeed, on_ready: impl FnOnce(ActiveDriver)) -> std::io::Result<()> {
        let (mut runtime, driver) = ShardRuntime::build(seed.snapshot.options.driver)?;
        let is_uring = matches!(driver, ActiveDriver::Uring(_));
        let mut shard = Shard::new(seed, is_uring)?;
        runtime.block_on(async {
            let mut parker = Parker::new(&shard.readiness.as_fd(), clock::now())?;
            on_ready(driver);
            shard.live(&mut parker).await;
            Ok(())
        })
    }

    fn new(seed: ShardSeed, is_uring: bool) -> std::io::Result<Shard> {
        let readiness = Readiness::new()?;
        seed.listeners.watch(&readiness)?;
        readiness.watch(seed.port.wake().as_fd(), Source::Wake)?;
        if let Some(admin) = &seed.admin {
            readiness.watch(admin.as_fd(), Source::AdminListener)?;
        }
        let Snapshot { ref options, ref applications, .. } = *seed.snapshot;
        let sender = if options.send.uses_ring(is_uring) {
            Sender::Ring(RingSender::new()?)
        } else {
            Sender::Direct(DirectSender)
        };
        let clock = Clock::start();
        let ended = clock::now();
        let now = clock.tick_at(ended);
        let time_us = clock::unix_us();
        let wake = Arc::clone(seed.port.wake());
        let delivery = Delivery {
            shard: seed.broker.shard,
            options: Arc::clone(options),
            applications: Arc::clone(applications),
            ids: seed.broker.ids.clone(),
            connections: Slab::default(),
            encoder: Encoder::default(),
            port: seed.port,
            all_counters: seed.counters,
            dirty: Vec::new(),
            again: Vec::new(),
            doomed: Vec::new(),
            retired: Vec::new(),
            arrived: Vec::new(),
            hungry: Vec::new(),
            polls_touched: Vec::new(),
            store: seed.store,
            revocations: Vec::new(),
            delivered: Vec::new(),
            backlog: Backlog::default(),
            scratch: Vec::new(),
            plain: Vec::new(),
            following: Following::new(seed.follow_board),
            date: Date::new(time_us / 1_000_000),
            now,
        };
        Ok(Shard {
            delivery,
            broker: Broker::new(seed.broker, Arc::clone(applications)),
            readiness,
            listeners: seed.listeners,
            handshake_time: HandshakeTime::default(),
            sender,
            wheel: Wheel::new(now, SLOT),
            scanner: Scanner::new(JSON_DEPTH_MAX),
            inflater: Some(Inflater::new()),
            authenticator: Authenticator::new(Arc::clone(&seed.snapshot.key_ring)),
            verifying: Verifying::new(Arc::clone(&seed.snapshot.key_board)),
            rates: Arc::clone(&seed.snapshot.rates),
            scratch: Some(Box::default()),
            input: vec![0; INPUT_SIZE],
            send_results: Vec::new(),
            fired: Vec::new(),
            accept_log: RateLimit::new(1, Duration::from_secs(5)),
            refusal_log: RateLimit::new(10, Duration::from_secs(1)),
            close_log: RateLimit::new(50, Duration::from_secs(1)),
            connections_max: seed.connections_max,
            accept_pace: accept_pace(options),
            stage: Stage::Running,
            started_unix_ms: seed.started_unix_ms,
            store_counters: seed.store_counters,
            reloads: seed.reloads,
            admin: seed.admin,
            time_us,
            ready: Vec::new(),
            again: Vec::new(),
            control: seed.control,
            snapshot_seen: Seen::default(),
            clock,
            wake,
            ended,
            ended_us: time_us,
            accept_resumes: None,
            deliver_since: None,
            draining: None,
            is_drained: false,
            mesh_is_behind: false,
        })
    }

    async fn live(&mut self, parker: &mut Parker) {
        loop {
            let has_more = self.turn();
            match self.control.stage() {
                stage @ (Stage::Leaving | Stage::Draining) if self.stage != stage => {
                    self.enter_stage(stage);
                    continue;
                }
                Stage::Draining if self.is_deserted() && !self.is_drained => {
                    // It stays for the others: their last publishes may have their home here.
                    self.is_drained = true;
                    if self.control.drained() {
                        self.control.set(Stage::Stopped);
                        self.delivery.port.wake_all();
                        return;
                    }
                }
                Stage::Running | Stage::Leaving | Stage::Draining => {}
                Stage::Stopped => return,
            }
            if has_more {
                continue;
            }
            self.wake.set_sleeping();
            let has_work = self.verifying.has_work() || self.has_to_give_out();
            let is_idle = self.delivery.port.inbox_is_empty() && !has_work;
            if is_idle && self.control.stage() == self.stage && !self.is_outdated() {
                parker.park(self.ended, self.wait()).await;
            }
            self.wake.set_awake();
        }
    }

    /// One turn; whether something is left that needs no event to go on.
    fn turn(&mut self) -> bool {
        let began = clock::now();
        self.delivery.now = self.clock.tick_at(began);
        self.time_us = clock::unix_us();
        self.delivery.counters().turn_began_us.set(self.time_us);
        self.delivery.date.set(self.time_us / 1_000_000);
        self.take_reload();
        self.learn_followers();
        self.take_ready();
        self.verify_waiting();
        self.catch_up();
        self.read_listed();
        self.drain_inbox();
        self.keep_revocations();
        self.run_timers();
        self.broker.run_timers(self.time_us, &mut self.delivery);
        self.welcome_arrivals();
        self.drain_due(began);
        self.deliver_runs(began);
        self.finish_polls();
        self.tell_followers();
        self.give_out();
        self.flush_mesh();
        self.flush();
        self.tally_latencies(began);
        self.reap();
        self.mesh_is_behind = self.flush_mesh();
        self.tally_turn(began);
        !self.delivery.again.is_empty()
            || !self.delivery.dirty.is_empty()
            || !self.delivery.hungry.is_empty()
            || self.verifying.has_work()
            || self.has_to_give_out()
            || !self.delivery.port.inbox_is_empty()
    }

    fn take_ready(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        self.readiness.poll(&mut ready);
        if self.note_all_ready(&ready) {
            self.accept();
            // What was accepted is ready at once, to be written and mostly to be read: a second look
            // spares it a turn of its own. Whoever still waits at a listener is told of again.
            ready.clear();
            self.readiness.poll(&mut ready);
            self.note_all_ready(&ready);
        }
        self.ready = ready;
        if self.accept_resumes.is_some_and(|at| at <= clock::now()) {
            self.resume_accepting();
        }
    }

    /// Notes which connections and listeners are ready; whether any listener is.
    fn note_all_ready(&mut self, ready: &[Ready]) -> bool {
        let mut has_arrivals = false;
        for event in ready {
            match event.source {
                Source::Listener(index) => {
                    self.listeners.note_ready(index);
                    has_arrivals = true;
                }
                // What it announces is in the inbox, which every turn drains.
                Source::Wake => {}
                Source::AdminListener => self.accept_admin(),
                Source::Connection(key) => self.note_ready(key, *event),
            }
        }
        has_arrivals
    }

    fn note_ready(&mut self, key: Key, event: Ready) {
        let Some(connection) = self.delivery.connections.get_mut(key) else { return };
        connection.flags.ended |= event.ended;
        if event.writable && connection.flags.blocked {
            connection.flags.blocked = false;
            self.delivery.mark_dirty(key);
        }
        if event.readable
            && let Some(connection) = self.delivery.connections.get_mut(key)
        {
            connection.flags.readable = true;
            self.delivery.read_again(key);
        }
    }

    /// Reads the connections listed until now; what they list meanwhile is for the next turn.
    fn read_listed(&mut self) {
        std::mem::swap(&mut self.again, &mut self.delivery.again);
        let mut listed = std::mem::take(&mut self.again);
        let budget = self.delivery.options.turn.reads_max.max(1);
        for key in listed.drain(..listed.len().min(budget)) {
            if let Some(connection) = self.delivery.connections.get_mut(key) {
                connection.flags.queued = false;
                self.guard(key, Shard::read);
            }
        }
        // Those over the budget go first next turn.
        listed.append(&mut self.delivery.again);
        self.delivery.again = listed;
    }

    /// Runs one connection's handling; a panic in it ends that connection.
    pub(super) fn guard(&mut self, key: Key, handle: fn(&mut Shard, Key)) {
        // What a panic may leave behind: this connection's state (it is removed) and the taken
        // scratch buffers (they are replaced); the broker's and the table's calls complete before
        // they hand out anything that could panic.
        if catch_unwind(AssertUnwindSafe(|| handle(self, key))).is_err() {
            tracing::error!("a panic was caught; its connection is closed");
            self.delivery.counters().panics.increment();
            self.scratch.get_or_insert_default();
            self.inflater.get_or_insert_with(Inflater::new);
            if self.input.is_empty() {
                self.input = vec![0; INPUT_SIZE];
            }
            self.delivery.doom(key, CloseCause::Internal);
        }
    }

    /// Delivers the topics' runs, unless they may wait for more.
    fn deliver_runs(&mut self, now: Instant) {
        let delay_max = self.delivery.options.turn.flush_delay_max;
        if delay_max > Duration::ZERO && self.broker.has_runs() {
            let since = *self.deliver_since.get_or_insert(now);
            if now.duration_since(since) < delay_max {
                return;
            }
        }
        self.deliver_since = None;
        self.broker.deliver_runs(&mut self.delivery);
    }

    /// How long the shard may park, now that its turn is over.
    fn wait(&self) -> Duration {
        let now = self.ended;
        // The wheel is coarse: the turn's own duration does not count.
        let timer = self
            .wheel
            .next_due()
            .map(|due| Duration::from_millis(u64::from(due.since_ms(self.delivery.now))));
        let delay_max = self.delivery.options.turn.flush_delay_max;
        let until = |at: Instant| at.saturating_duration_since(now);
        let deliver = self.deliver_since.map(|since| until(since + delay_max));
        let accept = self.accept_resumes.map(until);
        let drain = self.draining.as_ref().map(|draining| until(draining.next_due()));
        let mesh = self.mesh_is_behind.then_some(MESH_RETRY);
        let backlog = self.delivery.backlog.wait(self.clock.tick());
        let numbers = self.delivery.following.wait(self.clock.tick());
        let load = self.load_wait(self.clock.tick());
        let broker = self
            .broker
            .next_due_us()
            .map(|due_us| Duration::from_micros(due_us.saturating_sub(self.ended_us)));
        [timer, deliver, accept, drain, mesh, broker, backlog, numbers, load]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(PARK_MAX)
    }
}
