//! A worker process: one thread, one epoll set, thousands of subscribers.
//!
//! Flow of a turn: wait → read what is ready → commands from the parent → connects that are due →
//! once a second, a report. The worker ends when the parent's pipe does.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::Socket;

use crate::child::{CommandPipe, send};
use crate::connect;
use crate::context::Context;
use crate::control::{Command, Event, Final, Interval};
use crate::inbox::{Inbox, bump};
use crate::judge::{self, Judged};
use crate::latency::Latency;
use crate::run::per;
use crate::settings::{Scenario, Settings};
use crate::shared::Row;
use crate::subscriber::{Phase, Subscriber};
use crate::sys::{self, Epoll, Interest, Ready};
use crate::token::Signer;
use crate::verdict::Kind;
use crate::wire::request;

const COMMANDS: u64 = u64::MAX;
const SCRATCH_SIZE: usize = 256 * 1024;
/// Connects begun in one turn, so that reading is not starved.
const CONNECTS_PER_TURN_MAX: usize = 64;
/// Connection errors reported per interval.
const ERRORS_MAX: usize = 3;
const SECOND_NS: u64 = 1_000_000_000;
/// First pause before an attempt is repeated; doubles up to five times.
const RETRY_NS: u64 = 100_000_000;

/// One subscriber with its socket.
struct Slot {
    subscriber: Subscriber,
    socket: Option<Socket>,
    out: Vec<u8>,
    /// When the schedule wanted the connect, nanoseconds.
    intended_ns: u64,
    /// When the current attempt began, nanoseconds.
    began_ns: u64,
    attempt: u32,
    /// Tokens it has had, when each connect has its own.
    generation: u32,
    /// Whether it may be dropped by the server without that being wrong.
    is_slow: bool,
    is_reading: bool,
    was_closed: bool,
}

/// Connects to be made, at a rate.
#[derive(Default)]
struct Ramp {
    queue: VecDeque<usize>,
    next_ns: u64,
    step_ns: u64,
    /// (when, slot), unordered and short.
    retries: Vec<(u64, usize)>,
}

/// The worker's state.
pub struct Worker<'a> {
    settings: &'a Settings,
    row: &'a Row,
    context: Context<'a>,
    epoll: Epoll,
    slots: Vec<Slot>,
    /// Signs a token for each connect, when each has its own.
    signer: Option<Signer>,
    connected_to: usize,
    ramp: Ramp,
    scratch: Vec<u8>,
    handshake: Latency,
    interval: Interval,
    interval_from_ns: u64,
    interval_cpu_ns: u64,
    pipe: CommandPipe,
    is_done: bool,
}

/// Runs the worker process number `worker` to its end.
///
/// # Errors
/// When the key cannot be used, or the pipes or epoll fail.
pub(crate) fn run(
    settings: &Settings,
    worker: u32,
    row: &Row,
    pipe: CommandPipe,
) -> io::Result<()> {
    Worker::new(settings, worker, row, pipe)?.run()
}

impl<'a> Worker<'a> {
    fn new(
        settings: &'a Settings,
        worker: u32,
        row: &'a Row,
        pipe: CommandPipe,
    ) -> io::Result<Worker<'a>> {
        let (first, count) = settings.share(worker);
        let slots = (first..first + count).map(|number| Slot::new(number, settings)).collect();
        let epoll = Epoll::new()?;
        epoll.add(pipe.as_raw_fd(), COMMANDS, Interest::Read)?;
        let signer = settings.key.as_ref().map(|key| Signer::load(key, settings.run)).transpose();
        Ok(Worker {
            settings,
            row,
            context: Context::new(settings, Inbox::new(settings, row)),
            epoll,
            slots,
            signer: signer.map_err(io::Error::other)?,
            connected_to: 0,
            ramp: Ramp::default(),
            scratch: vec![0; SCRATCH_SIZE],
            handshake: Latency::default(),
            interval: Interval::default(),
            interval_from_ns: sys::monotonic_ns(),
            interval_cpu_ns: sys::thread_cpu_ns(),
            pipe,
            is_done: false,
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut ready: Vec<Ready> = Vec::new();
        while !self.is_done {
            let timeout = self.timeout(sys::monotonic_ns());
            self.epoll.wait(&mut ready, timeout)?;
            let woke_ns = sys::monotonic_ns();
            for event in &ready {
                if event.token == COMMANDS {
                    self.read_commands()?;
                } else {
                    self.socket_ready(usize::try_from(event.token).unwrap_or(usize::MAX), *event);
                }
            }
            self.connect_due();
            let now_ns = sys::monotonic_ns();
            self.interval.turn_ns_max = self.interval.turn_ns_max.max(now_ns - woke_ns);
            if now_ns - self.interval_from_ns >= SECOND_NS {
                self.expire_handshakes(now_ns);
                let interval = self.take_interval(now_ns);
                send(&Event::Interval(Box::new(interval)))?;
            }
        }
        Ok(())
    }

    fn timeout(&self, now_ns: u64) -> Duration {
        let mut until = self.interval_from_ns + SECOND_NS;
        if !self.ramp.queue.is_empty() {
            until = until.min(self.ramp.next_ns);
        }
        for &(due_ns, _) in &self.ramp.retries {
            until = until.min(due_ns);
        }
        Duration::from_nanos(until.saturating_sub(now_ns))
    }

    fn read_commands(&mut self) -> io::Result<()> {
        let commands = self.pipe.read()?;
        self.is_done = commands.is_none();
        commands.unwrap_or_default().into_iter().try_for_each(|command| self.command(command))
    }

    fn command(&mut self, command: Command) -> io::Result<()> {
        match command {
            Command::Setup { .. } | Command::Gather { .. } => {
                return Err(io::Error::other("not a command for a worker at work"));
            }
            Command::Connect { count, rate } => {
                let to = (count as usize).min(self.slots.len());
                self.schedule(self.connected_to..to, rate);
                self.connected_to = to;
            }
            Command::Publish { measure_from_ns } => {
                self.context.publishing = true;
                self.context.inbox.measure_from_ns = measure_from_ns;
            }
            Command::Phase { from_ns } => self.context.inbox.enter_phase(from_ns),
            Command::StopReading => self.set_reading(false)?,
            Command::ResumeReading => self.set_reading(true)?,
            Command::Cut { fraction, rate } => self.cut(fraction, rate),
            Command::Judge { ledgers } => {
                let last = self.take_interval(sys::monotonic_ns());
                let fresh = Inbox::new(self.settings, self.row);
                let inbox = std::mem::replace(&mut self.context.inbox, fresh);
                let all = self.slots.iter().map(Slot::judged);
                let (tally, slow) = judge::judge(self.settings, all, &ledgers, inbox.into_tally());
                send(&Event::Final(Box::new(Final { tally, slow, last })))?;
            }
        }
        Ok(())
    }

    fn schedule(&mut self, slots: impl IntoIterator<Item = usize>, rate: f64) {
        self.ramp.queue.extend(slots);
        self.ramp.next_ns = sys::monotonic_ns();
        self.ramp.step_ns = if rate > 0.0 { sys::nanoseconds(1.0 / rate) } else { 0 };
    }

    fn connect_due(&mut self) {
        let now_ns = sys::monotonic_ns();
        for _ in 0..CONNECTS_PER_TURN_MAX {
            if self.ramp.next_ns > now_ns {
                break;
            }
            let Some(slot) = self.ramp.queue.pop_front() else { break };
            self.slots[slot].intended_ns = self.ramp.next_ns;
            self.slots[slot].attempt = 0;
            self.ramp.next_ns += self.ramp.step_ns;
            self.begin(slot);
        }
        while let Some(at) = self.ramp.retries.iter().position(|&(due_ns, _)| due_ns <= now_ns) {
            let (_, slot) = self.ramp.retries.swap_remove(at);
            self.begin(slot);
        }
    }

    fn begin(&mut self, index: usize) {
        bump(&self.row.attempts, 1);
        let slot = &mut self.slots[index];
        slot.attempt += 1;
        slot.began_ns = sys::monotonic_ns();
        let number = slot.subscriber.number;
        let opened = connect::open(self.settings, number, slot.is_slow).and_then(|socket| {
            self.epoll.add(socket.as_raw_fd(), index as u64, Interest::ReadWrite)?;
            let sign = |signer: &Signer| signer.subscriber(number, slot.generation);
            let token = self.signer.as_ref().map(sign).transpose().map_err(io::Error::other)?;
            Ok((socket, token))
        });
        match opened {
            Ok((socket, token)) => {
                slot.generation += 1;
                slot.out = request::subscribe(self.settings, number, token.as_deref(), None);
                slot.socket = Some(socket);
                slot.subscriber.begin();
            }
            Err(error) => self.failed(index, &error.to_string()),
        }
    }

    fn socket_ready(&mut self, index: usize, ready: Ready) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let Some(socket) = &slot.socket else { return };
        if !slot.is_reading {
            if ready.broken {
                self.gone(index, "reset while it was not reading");
            }
            return;
        }
        if ready.writable
            && let Err(error) = connect::finish(socket)
        {
            self.gone(index, &error.to_string());
            return;
        }
        if ready.readable {
            self.read(index);
        }
        if ready.writable {
            self.write(index, true);
        }
    }

    fn read(&mut self, index: usize) {
        loop {
            let slot = &mut self.slots[index];
            let Some(mut socket) = slot.socket.as_ref() else { return };
            let count = match socket.read(&mut self.scratch) {
                Ok(0) => return self.gone(index, "the server closed the connection"),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return self.gone(index, &error.to_string()),
            };
            bump(&self.row.bytes, count as u64);
            let now_ns = sys::monotonic_ns();
            let was_live = slot.subscriber.phase == Phase::Live;
            let bytes = &self.scratch[..count];
            let taken = slot.subscriber.receive(bytes, now_ns, &mut self.context, &mut slot.out);
            if !was_live && slot.subscriber.phase == Phase::Live {
                self.arrived(index, now_ns);
            }
            if let Err(reason) = taken {
                return self.gone(index, &reason);
            }
            if !self.slots[index].out.is_empty() {
                self.write(index, false);
            }
            if count < SCRATCH_SIZE {
                return;
            }
        }
    }

    /// Writes what waits; `was_waiting` tells that room was being watched for.
    fn write(&mut self, index: usize, was_waiting: bool) {
        let slot = &mut self.slots[index];
        let Some(mut socket) = slot.socket.as_ref() else { return };
        // Nothing goes out before the connect has ended; epoll will tell.
        match socket.write(&slot.out) {
            Ok(count) => drop(slot.out.drain(..count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return self.gone(index, &error.to_string()),
        }
        let is_waiting = !slot.out.is_empty();
        if is_waiting != was_waiting {
            let interest = if is_waiting { Interest::ReadWrite } else { Interest::Read };
            if let Err(error) = self.epoll.modify(socket.as_raw_fd(), index as u64, interest) {
                return self.gone(index, &error.to_string());
            }
        }
        if !is_waiting {
            slot.out = Vec::new();
        }
    }

    fn arrived(&mut self, index: usize, now_ns: u64) {
        let slot = &mut self.slots[index];
        self.handshake.record(now_ns.saturating_sub(slot.intended_ns));
        bump(&self.row.live, 1);
        if !slot.subscriber.past.is_empty() {
            bump(&self.row.reconnects, 1);
        }
    }

    /// The connection has ended without our wish.
    fn gone(&mut self, index: usize, reason: &str) {
        let slot = &mut self.slots[index];
        slot.socket = None;
        let was_live = slot.subscriber.phase == Phase::Live;
        slot.subscriber.end();
        if !was_live {
            return self.failed(index, reason);
        }
        slot.was_closed = true;
        self.row.live.fetch_sub(1, Ordering::Relaxed);
        bump(&self.row.lost, 1);
        if !slot.is_slow {
            let (number, now_ns) = (slot.subscriber.number, sys::monotonic_ns());
            let inbox = &mut self.context.inbox;
            inbox.wrong(Kind::Disconnected, number, None, None, now_ns, reason.to_owned());
        }
    }

    /// An attempt has failed; it is repeated, except where attempts are what is measured.
    fn failed(&mut self, index: usize, reason: &str) {
        bump(&self.row.failures, 1);
        if self.interval.errors.len() < ERRORS_MAX {
            self.interval.errors.push(reason.to_owned());
        }
        if self.settings.scenario != Scenario::Connect {
            let slot = &self.slots[index];
            let pause_ns = RETRY_NS << slot.attempt.min(5);
            // Spread by subscriber number, so that a crowd does not come back in step.
            let spread_ns = u64::from(slot.subscriber.number % 97) * pause_ns / 97;
            self.ramp.retries.push((sys::monotonic_ns() + pause_ns + spread_ns, index));
        }
    }

    fn expire_handshakes(&mut self, now_ns: u64) {
        let limit_ns = sys::nanoseconds(self.settings.connect_timeout_s);
        let late = |slot: &Slot| {
            slot.subscriber.is_arriving() && now_ns.saturating_sub(slot.began_ns) > limit_ns
        };
        for index in 0..self.slots.len() {
            if late(&self.slots[index]) {
                self.gone(index, "the handshake took too long (--connect-timeout)");
            }
        }
    }

    fn set_reading(&mut self, is_reading: bool) -> io::Result<()> {
        let interest = if is_reading { Interest::Read } else { Interest::Nothing };
        for (index, slot) in self.slots.iter_mut().enumerate().filter(|(_, slot)| slot.is_slow) {
            slot.is_reading = is_reading;
            if let Some(socket) = &slot.socket {
                self.epoll.modify(socket.as_raw_fd(), index as u64, interest)?;
            }
        }
        Ok(())
    }

    fn cut(&mut self, fraction: f64, rate: f64) {
        let mut cut = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            // Every subscriber has a fixed place in 0..1, so that cuts repeat exactly.
            let place =
                f64::from(slot.subscriber.number.wrapping_mul(0x9e37_79b9)) / 4_294_967_296.0;
            if place < fraction && slot.subscriber.phase == Phase::Live {
                slot.subscriber.cut();
                slot.socket = None;
                slot.out = Vec::new();
                cut.push(index);
            }
        }
        self.row.live.fetch_sub(cut.len() as u64, Ordering::Relaxed);
        bump(&self.row.cut, cut.len() as u64);
        bump(&self.row.cut_rounds, 1);
        self.schedule(cut, rate);
    }

    fn take_interval(&mut self, now_ns: u64) -> Interval {
        let cpu_ns = sys::thread_cpu_ns();
        let mut interval = std::mem::take(&mut self.interval);
        let whole_ns = per(now_ns - self.interval_from_ns, 1.0);
        interval.cpu_share = per(cpu_ns - self.interval_cpu_ns, whole_ns);
        interval.raw = self.context.inbox.raw.take();
        interval.corrected = self.context.inbox.corrected.take();
        interval.phases = self.context.inbox.take_phases();
        interval.handshake = self.handshake.take();
        self.row.cpu_ns.store(cpu_ns, Ordering::Relaxed);
        (self.interval_from_ns, self.interval_cpu_ns) = (now_ns, cpu_ns);
        interval
    }
}

impl Slot {
    fn new(number: u32, settings: &Settings) -> Slot {
        Slot {
            subscriber: Subscriber::new(number),
            socket: None,
            out: Vec::new(),
            intended_ns: 0,
            began_ns: 0,
            attempt: 0,
            generation: 0,
            is_slow: settings.is_slow(number),
            is_reading: true,
            was_closed: false,
        }
    }

    fn judged(&self) -> Judged<'_> {
        let Slot { subscriber, is_slow, was_closed, .. } = self;
        Judged { subscriber, is_slow: *is_slow, was_closed: *was_closed }
    }
}
