//! The publishing side: a schedule fixed in advance, kept over keep-alive HTTP connections.
//!
//! Open loop: message i is due at start + i / rate whatever the server does; what cannot go out yet
//! waits here, and its latency is counted from when it was due. A topic's messages all go through
//! the same connection, so their order on the wire is the order of their numbers. Closed loop
//! (`flat`): a message goes out as soon as the deliveries of earlier ones have come. Or (`publish`):
//! as soon as an earlier one is answered, over all connections, so a topic's numbers are then in no
//! order.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::latency::Latency;
use crate::ledger::TopicLedger;
use crate::marker::Marker;
use crate::publish_connection::{Answer, AnswerFraming, PublishConnection};
use crate::run::per;
use crate::settings::{PublishDoor, Scenario, Settings};
use crate::shared::Counters;
use crate::sys::{self, Epoll, Ready};
use crate::wire::request::Publishes;

/// Longest wait of the loop, so that a stop is seen.
const WAIT_NS_MAX: u64 = 50_000_000;
/// Most messages scheduled without looking at the sockets.
const TURN_EVERY: u64 = 256;
/// Pause between looks at the delivery counter in the closed loop.
const WINDOW_POLL_NS: u64 = 50_000;

/// What the publisher shows while it runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// Messages that were due so far.
    pub due: AtomicU64,
    /// Messages handed to a socket.
    pub sent: AtomicU64,
    /// Messages answered 2xx.
    pub accepted: AtomicU64,
    /// Messages answered otherwise.
    pub refused: AtomicU64,
    /// Messages whose answer never came.
    pub unknown: AtomicU64,
    /// Deliveries owed for the accepted ones while all subscribers stand.
    pub owed: AtomicU64,
    /// CPU nanoseconds of the publisher's thread.
    pub cpu_ns: AtomicU64,
    /// Set by the parent when nothing more is due; answers are still awaited.
    pub finish: AtomicBool,
    /// Phase of a storm that the parent is in, from 1; 0 = none.
    pub phase: AtomicUsize,
    /// Set by the parent to end the run early.
    pub stop: AtomicBool,
}

/// What the publisher knows at the end.
#[derive(Default)]
pub struct Outcome {
    /// One entry per topic.
    pub ledgers: Vec<TopicLedger>,
    /// From the actual send to the answer.
    pub answer_raw: Latency,
    /// From the intended send to the answer.
    pub answer_corrected: Latency,
    /// From the intended send to the moment the loop came round to it: the generator's own fault.
    pub lag: Latency,
    /// The same per phase of a storm; the first entry is what came before.
    pub phase_lag: Vec<Latency>,
    /// Messages that were due but never handed to a socket.
    pub unsent: u64,
    /// The first answer that was not 2xx.
    pub first_refusal: Option<String>,
    /// The first connection error.
    pub first_error: Option<String>,
    /// Seconds during which messages were due.
    pub active_s: f64,
}

/// The publisher's state.
pub struct Publisher<'a> {
    settings: &'a Settings,
    progress: &'a Progress,
    counters: &'a Counters,
    epoll: Epoll,
    connections: Vec<PublishConnection<Vec<Marker>>>,
    /// Per connection: (topic, intended) of messages that are due and wait.
    queues: Vec<VecDeque<(u32, u64)>>,
    publishes: Publishes,
    names: Vec<String>,
    audience: Vec<u64>,
    next_topic: u32,
    measure_from_ns: u64,
    outcome: Outcome,
}

/// When the schedule begins, ends, and when timing begins, `CLOCK_MONOTONIC` nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// First message.
    pub start_ns: u64,
    /// Messages due from here on are timed.
    pub measure_from_ns: u64,
    /// No message is due at or after this.
    pub end_ns: u64,
}

impl<'a> Publisher<'a> {
    /// Opens the connections.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub fn new(
        settings: &'a Settings,
        progress: &'a Progress,
        counters: &'a Counters,
    ) -> io::Result<Publisher<'a>> {
        let epoll = Epoll::new()?;
        let count = settings.publish_connections;
        let framing = match settings.paths.publish {
            Some(_) => AnswerFraming::Any,
            None => AnswerFraming::Delimited,
        };
        let connections = (0..u64::from(count))
            .map(|token| PublishConnection::open(settings.target, token, &epoll, framing))
            .collect::<io::Result<Vec<_>>>()?;
        let outcome = Outcome {
            ledgers: vec![TopicLedger::default(); settings.topics as usize],
            ..Outcome::default()
        };
        Ok(Publisher {
            settings,
            progress,
            counters,
            epoll,
            queues: vec![VecDeque::new(); connections.len()],
            connections,
            publishes: Publishes::new(settings),
            names: (0..settings.topics).map(|topic| settings.topic(topic)).collect(),
            audience: settings.audience().into_iter().map(u64::from).collect(),
            next_topic: 0,
            measure_from_ns: 0,
            outcome,
        })
    }

    /// Publishes until the schedule ends and every answer has come or `grace_s` has passed without
    /// one.
    ///
    /// # Errors
    /// When epoll fails.
    pub fn run(mut self, schedule: &Schedule) -> io::Result<Outcome> {
        sys::sharpen_timers();
        self.measure_from_ns = schedule.measure_from_ns;
        match self.settings.scenario {
            Scenario::Flat => self.closed_loop(schedule)?,
            Scenario::Publish => self.saturate(schedule)?,
            _ => self.open_loop(schedule)?,
        }
        let now_ns = sys::monotonic_ns().min(schedule.end_ns);
        self.outcome.active_s =
            Duration::from_nanos(now_ns.saturating_sub(schedule.start_ns)).as_secs_f64();
        self.drain()?;
        Ok(self.finish())
    }

    fn open_loop(&mut self, schedule: &Schedule) -> io::Result<()> {
        let mut index = 0_u64;
        loop {
            let due_ns = schedule.start_ns + sys::nanoseconds(per(index, self.settings.rate));
            let now_ns = sys::monotonic_ns();
            let is_over = self.progress.finish.load(Ordering::Relaxed);
            if due_ns >= schedule.end_ns || is_over || self.is_stopped() {
                return Ok(());
            }
            if due_ns <= now_ns {
                self.late(now_ns - due_ns);
                self.enqueue(due_ns);
                index += 1;
                // A generator that has fallen behind must still read its answers.
                if !index.is_multiple_of(TURN_EVERY) {
                    continue;
                }
            }
            self.turn(due_ns.saturating_sub(now_ns))?;
        }
    }

    fn closed_loop(&mut self, schedule: &Schedule) -> io::Result<()> {
        let widest = self.audience.iter().copied().max().unwrap_or(1).max(1);
        let window = widest * u64::from(self.settings.window);
        let mut owed = 0;
        loop {
            let now_ns = sys::monotonic_ns();
            if now_ns >= schedule.end_ns || self.is_stopped() {
                return Ok(());
            }
            let delivered = self.counters.sum(|row| &row.delivered);
            while owed < delivered + window {
                owed += self.audience[self.next_topic as usize].max(1);
                self.enqueue(now_ns);
            }
            self.turn(WINDOW_POLL_NS)?;
        }
    }

    /// Keeps every connection's pipeline full, so that the answers set the pace.
    fn saturate(&mut self, schedule: &Schedule) -> io::Result<()> {
        let depth = self.settings.pipeline as usize * self.per_request();
        loop {
            let now_ns = sys::monotonic_ns();
            if now_ns >= schedule.end_ns || self.is_stopped() {
                // What has not gone out is not due any more.
                self.queues.iter_mut().for_each(VecDeque::clear);
                return Ok(());
            }
            for connection in 0..self.connections.len() {
                for _ in self.queues[connection].len()..depth {
                    let topic = self.next_topic();
                    self.enqueue_on(connection, topic, now_ns);
                }
            }
            self.turn(WAIT_NS_MAX)?;
        }
    }

    fn next_topic(&mut self) -> u32 {
        let topic = self.next_topic;
        self.next_topic = (topic + 1) % self.settings.topics;
        topic
    }

    fn late(&mut self, lag_ns: u64) {
        self.outcome.lag.record(lag_ns);
        let phase = self.progress.phase.load(Ordering::Relaxed);
        let lags = &mut self.outcome.phase_lag;
        if lags.len() <= phase {
            lags.resize_with(phase + 1, Latency::default);
        }
        lags[phase].record(lag_ns);
    }

    fn is_stopped(&self) -> bool {
        self.progress.stop.load(Ordering::Relaxed)
    }

    /// Puts a message that is due now behind those of its connection.
    fn enqueue(&mut self, due_ns: u64) {
        let topic = self.next_topic();
        let connection = topic as usize % self.connections.len();
        self.enqueue_on(connection, topic, due_ns);
    }

    fn enqueue_on(&mut self, connection: usize, topic: u32, due_ns: u64) {
        self.queues[connection].push_back((topic, due_ns));
        self.progress.due.fetch_add(1, Ordering::Relaxed);
        self.fill(connection);
    }

    /// One pass: write, wait at most `wait_ns`, read.
    fn turn(&mut self, wait_ns: u64) -> io::Result<()> {
        for index in 0..self.connections.len() {
            if !self.connections[index].is_open() {
                self.broken(index, "not connected");
            }
            self.fill(index);
            self.flush(index);
        }
        self.progress.cpu_ns.store(sys::thread_cpu_ns(), Ordering::Relaxed);
        let mut ready: Vec<Ready> = Vec::new();
        self.epoll.wait(&mut ready, Duration::from_nanos(wait_ns.min(WAIT_NS_MAX)))?;
        for event in ready {
            let index = usize::try_from(event.token).unwrap_or(usize::MAX);
            if event.readable {
                self.read(index);
            }
            self.fill(index);
            self.flush(index);
        }
        Ok(())
    }

    /// Most messages of one request.
    fn per_request(&self) -> usize {
        match self.settings.publish_door {
            PublishDoor::Batch => self.settings.batch as usize,
            _ => 1,
        }
    }

    /// Writes requests for waiting messages, as far as the pipeline allows.
    fn fill(&mut self, index: usize) {
        let per_request = self.per_request();
        if !self.connections[index].is_open() {
            return;
        }
        let depth = self.settings.pipeline as usize;
        while self.connections[index].in_flight() < depth && !self.queues[index].is_empty() {
            let count = per_request.min(self.queues[index].len());
            let sent_ns = sys::monotonic_ns();
            let mut request = Vec::with_capacity(count);
            for (topic, intended_ns) in self.queues[index].drain(..count) {
                let ledger = &mut self.outcome.ledgers[topic as usize];
                let sequence = ledger.sent;
                ledger.sent += 1;
                if matches!(self.settings.scenario, Scenario::Cut | Scenario::Recover) {
                    ledger.sent_ns.push(sent_ns);
                }
                request.push(Marker { topic, sequence, intended_ns, sent_ns });
            }
            self.progress.sent.fetch_add(count as u64, Ordering::Relaxed);
            let messages: Vec<(&str, Marker)> = request
                .iter()
                .map(|sent| (self.names[sent.topic as usize].as_str(), *sent))
                .collect();
            let out = self.connections[index].request(request);
            self.publishes.write(&messages, out);
        }
    }

    fn flush(&mut self, index: usize) {
        if let Err(error) = self.connections[index].flush(&self.epoll) {
            self.broken(index, &error.to_string());
        }
    }

    fn read(&mut self, index: usize) {
        loop {
            match self.connections[index].read() {
                Ok(Answer::Waiting) => return,
                Ok(Answer::Complete { status, body, closes, request }) => {
                    self.answered(&request, status, &body);
                    if closes {
                        return self.broken(index, "the server closes after each answer");
                    }
                }
                Err(error) => return self.broken(index, &error.to_string()),
            }
        }
    }

    fn answered(&mut self, request: &[Marker], status: u16, body: &str) {
        let now_ns = sys::monotonic_ns();
        let count = request.len() as u64;
        if (200..300).contains(&status) {
            let owed = request.iter().map(|sent| self.audience[sent.topic as usize]).sum();
            self.progress.owed.fetch_add(owed, Ordering::Relaxed);
            self.progress.accepted.fetch_add(count, Ordering::Relaxed);
            for sent in request.iter().filter(|sent| sent.intended_ns >= self.measure_from_ns) {
                self.outcome.answer_raw.record(now_ns - sent.sent_ns);
                self.outcome.answer_corrected.record(now_ns - sent.intended_ns);
            }
            return;
        }
        self.progress.refused.fetch_add(count, Ordering::Relaxed);
        self.outcome.first_refusal.get_or_insert_with(|| format!("{status}: {body}"));
        for sent in request {
            self.outcome.ledgers[sent.topic as usize].refused.push(sent.sequence);
        }
    }

    /// A connection has ended: what it had in flight has no known outcome.
    fn broken(&mut self, index: usize, reason: &str) {
        let lost: Vec<Marker> = self.connections[index].abandon().into_iter().flatten().collect();
        self.progress.unknown.fetch_add(lost.len() as u64, Ordering::Relaxed);
        for sent in &lost {
            self.outcome.ledgers[sent.topic as usize].unknown.push(sent.sequence);
        }
        if !lost.is_empty() {
            self.outcome.first_error.get_or_insert_with(|| reason.to_owned());
        }
        if let Err(error) = self.connections[index].reopen(&self.epoll) {
            self.outcome.first_error.get_or_insert_with(|| error.to_string());
        }
    }

    fn drain(&mut self) -> io::Result<()> {
        let is_idle = |publisher: &Self| {
            publisher.queues.iter().all(VecDeque::is_empty)
                && publisher.connections.iter().all(|c| c.in_flight() == 0)
        };
        let grace_ns = sys::nanoseconds(self.settings.grace_s);
        let mut last = (self.answers(), sys::monotonic_ns());
        while !is_idle(self) && !self.is_stopped() {
            self.turn(WAIT_NS_MAX)?;
            if self.answers() != last.0 {
                last = (self.answers(), sys::monotonic_ns());
            } else if sys::monotonic_ns() - last.1 > grace_ns {
                break;
            }
        }
        Ok(())
    }

    fn answers(&self) -> u64 {
        self.progress.accepted.load(Ordering::Relaxed)
            + self.progress.refused.load(Ordering::Relaxed)
    }

    fn finish(mut self) -> Outcome {
        for index in 0..self.connections.len() {
            for sent in self.connections[index].abandon().into_iter().flatten() {
                self.progress.unknown.fetch_add(1, Ordering::Relaxed);
                self.outcome.ledgers[sent.topic as usize].unknown.push(sent.sequence);
            }
        }
        for ledger in &mut self.outcome.ledgers {
            ledger.refused.sort_unstable();
            ledger.unknown.sort_unstable();
        }
        self.outcome.unsent = self.queues.iter().map(|queue| queue.len() as u64).sum();
        self.outcome
    }
}
