//! A crowd process: connections that come, are welcomed, and are dropped all at once.
//!
//! Closed loop: as fast as the server answers, with a bounded number of handshakes under way. It
//! lives apart from the workers so that its own work delays none of the deliveries they time.
//!
//! Invariants: every token is signed before the first gathering; an attempt is never repeated, so
//! that each refusal, reset and timeout is counted as the error it is; a gathering ends only when
//! each member is welcomed or has failed.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::beat::Beat;
use crate::child::{CommandPipe, send};
use crate::context::Context;
use crate::control::{Command, Event, Gathered};
use crate::inbox::{Inbox, bump};
use crate::latency::Latency;
use crate::link::Link;
use crate::settings::Settings;
use crate::shared::Row;
use crate::subscriber::Subscriber;
use crate::sys::{self, Epoll, Interest, Ready};
use crate::token::Signer;

const COMMANDS: u64 = u64::MAX;
const SCRATCH_SIZE: usize = 64 * 1024;
/// Connects begun in one turn, so that reading is not starved.
const CONNECTS_PER_TURN_MAX: usize = 64;
/// Errors reported per gathering.
const ERRORS_MAX: usize = 3;
/// How often slow handshakes are looked for, and the live line is served.
const INTERVAL_NS: u64 = 1_000_000_000;
/// Sets of tokens: one to come and come back with, one to come back with anew.
const TOKEN_SETS: u32 = 2;

/// The crowd's state.
struct Crowd<'a> {
    settings: &'a Settings,
    row: &'a Row,
    context: Context<'a>,
    epoll: Epoll,
    members: Vec<Link>,
    /// Per set, per member.
    tokens: Vec<Vec<String>>,
    pipe: CommandPipe,
    /// What the parent wants next: when, and with which tokens.
    order: Option<(u64, Option<u32>)>,
    /// Members that have not begun to connect, and their set of tokens.
    queue: VecDeque<usize>,
    set: usize,
    arriving: usize,
    arriving_max: usize,
    handshake: Latency,
    /// What has come to pass since the last report.
    gathered: Gathered,
    is_gathering: bool,
    scratch: Vec<u8>,
    beat: Beat,
}

/// Runs the crowd process number `crowd` to its end.
///
/// # Errors
/// When the key cannot be used, or the pipes or epoll fail.
pub(crate) fn run(settings: &Settings, crowd: u32, row: &Row, pipe: CommandPipe) -> io::Result<()> {
    if settings.storm.nice > 0 {
        sys::be_nice(settings.storm.nice.into())?;
    }
    // Members take no topic: what is asked is how fast they are let in.
    let own = Settings { topics_per_subscriber: 0, ..settings.clone() };
    let mut crowd = Crowd::new(&own, crowd, row, pipe)?;
    crowd.run()
}

impl<'a> Crowd<'a> {
    fn new(
        settings: &'a Settings,
        crowd: u32,
        row: &'a Row,
        pipe: CommandPipe,
    ) -> io::Result<Crowd<'a>> {
        let numbers = settings.crowd_share(crowd);
        let epoll = Epoll::new()?;
        epoll.add(pipe.as_raw_fd(), COMMANDS, Interest::Read)?;
        let processes = settings.storm.processes.max(1) as usize;
        let tokens = sign(settings, numbers.clone(), TOKEN_SETS)?;
        let members = numbers.map(|number| Link::new(Subscriber::new(number))).collect();
        bump(&row.crowd_ready, 1);
        Ok(Crowd {
            settings,
            row,
            context: Context::new(settings, Inbox::new(settings, row)),
            epoll,
            members,
            tokens,
            pipe,
            order: None,
            queue: VecDeque::new(),
            set: 0,
            arriving: 0,
            arriving_max: (settings.storm.concurrency as usize / processes).max(1),
            handshake: Latency::default(),
            gathered: Gathered::default(),
            is_gathering: false,
            scratch: vec![0; SCRATCH_SIZE],
            beat: Beat::new(),
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut ready: Vec<Ready> = Vec::new();
        let mut looked_ns = sys::monotonic_ns();
        loop {
            let timeout = self.timeout(sys::monotonic_ns(), looked_ns);
            self.epoll.wait(&mut ready, timeout)?;
            let woke_ns = sys::monotonic_ns();
            for event in &ready {
                if event.token != COMMANDS {
                    self.ready(usize::try_from(event.token).unwrap_or(usize::MAX), *event);
                } else if !self.read_commands()? {
                    return Ok(());
                }
            }
            self.obey();
            self.begin_some();
            let now_ns = sys::monotonic_ns();
            if now_ns - looked_ns >= INTERVAL_NS {
                looked_ns = now_ns;
                self.expire(now_ns);
            }
            self.beat.turn(now_ns - woke_ns);
            self.report()?;
        }
    }

    fn timeout(&self, now_ns: u64, looked_ns: u64) -> Duration {
        let due_ns = self.order.map_or(u64::MAX, |(at_ns, _)| at_ns);
        let may_begin = !self.queue.is_empty() && self.arriving < self.arriving_max;
        let until_ns = if may_begin { now_ns } else { due_ns.min(looked_ns + INTERVAL_NS) };
        Duration::from_nanos(until_ns.saturating_sub(now_ns))
    }

    /// Answers whether the parent is still there.
    fn read_commands(&mut self) -> io::Result<bool> {
        let Some(commands) = self.pipe.read()? else { return Ok(false) };
        for command in commands {
            let Command::Gather { at_ns, tokens } = command else {
                return Err(io::Error::other("not a command for a crowd"));
            };
            self.order = Some((at_ns, tokens));
        }
        Ok(true)
    }

    /// Begins what was ordered, when its time has come.
    fn obey(&mut self) {
        let Some((at_ns, tokens)) = self.order else { return };
        if sys::monotonic_ns() < at_ns {
            return;
        }
        self.order = None;
        self.beat = Beat::new();
        self.is_gathering = true;
        self.leave();
        if let Some(set) = tokens {
            self.set = set as usize;
            self.queue.extend(0..self.members.len());
        }
    }

    /// Drops every connection.
    fn leave(&mut self) {
        self.members.iter_mut().for_each(|member| member.leave(self.settings));
        self.row.crowd_live.store(0, Ordering::Relaxed);
    }

    fn begin_some(&mut self) {
        for _ in 0..CONNECTS_PER_TURN_MAX {
            if self.arriving >= self.arriving_max {
                return;
            }
            let Some(index) = self.queue.pop_front() else { return };
            self.begin(index);
        }
    }

    fn begin(&mut self, index: usize) {
        let token = self.tokens.get(self.set).and_then(|set| set.get(index));
        let credential = token.map(String::as_str);
        let member = &mut self.members[index];
        self.arriving += 1;
        if let Err(error) = member.open(self.settings, &self.epoll, index as u64, credential) {
            self.gone(index, &error.to_string());
        }
    }

    fn ready(&mut self, index: usize, ready: Ready) {
        let Some(member) = self.members.get_mut(index) else { return };
        let was_live = member.is_live();
        let (scratch, context) = (&mut self.scratch, &mut self.context);
        let outcome = member.ready(index as u64, ready, &self.epoll, scratch, context);
        if !was_live && member.is_live() {
            let now_ns = sys::monotonic_ns();
            self.handshake.record(now_ns - member.began_ns);
            self.arriving -= 1;
            bump(&self.row.crowd_live, 1);
            self.gathered.welcomed += 1;
            self.gathered.last_ns = now_ns;
        }
        if let Err(reason) = outcome {
            self.gone(index, &reason);
        }
    }

    /// A connection has ended without our wish: an error, whether it was welcomed or not.
    fn gone(&mut self, index: usize, reason: &str) {
        let member = &mut self.members[index];
        let was_live = member.is_live();
        member.end();
        if was_live {
            self.row.crowd_live.fetch_sub(1, Ordering::Relaxed);
            self.gathered.lost += 1;
        } else {
            self.arriving -= 1;
            self.gathered.failed += 1;
            self.give_up();
        }
        bump(&self.row.crowd_failures, 1);
        if self.gathered.errors.len() < ERRORS_MAX {
            let stage = if was_live { "after its welcome" } else { "before its welcome" };
            self.gathered.errors.push(format!("member {index}, {stage}: {reason}"));
        }
    }

    /// A server that fails a whole round of handshakes is not worth waiting for the others'.
    fn give_up(&mut self) {
        if self.gathered.failed >= self.arriving_max as u64 && !self.queue.is_empty() {
            let count = self.queue.len();
            self.queue.clear();
            self.gathered.failed += count as u64;
            self.gathered.errors.push(format!("{count} were not tried after as many failures"));
        }
    }

    fn expire(&mut self, now_ns: u64) {
        let limit_ns = sys::nanoseconds(self.settings.connect_timeout_s);
        for index in 0..self.members.len() {
            let member = &self.members[index];
            if member.subscriber.is_arriving() && now_ns - member.began_ns > limit_ns {
                self.gone(index, "the welcome did not come in time (--connect-timeout)");
            }
        }
    }

    /// Tells the parent when everybody has arrived or failed.
    fn report(&mut self) -> io::Result<()> {
        if !self.is_gathering || !self.queue.is_empty() || self.arriving > 0 {
            return Ok(());
        }
        self.is_gathering = false;
        // What was lost between two gatherings counts in the later one.
        let mut gathered = std::mem::take(&mut self.gathered);
        gathered.wrong = std::mem::take(&mut self.context.inbox.tally).wrong();
        gathered.handshake = self.handshake.take();
        (gathered.cpu_share, gathered.turn_ns_max) = self.beat.now();
        send(&Event::Gathered(Box::new(gathered)))
    }
}

/// Signs every token that will be needed, `sets` for each member; none when the run has no key.
pub(crate) fn sign(
    settings: &Settings,
    numbers: std::ops::Range<u32>,
    sets: u32,
) -> io::Result<Vec<Vec<String>>> {
    let Some(key) = &settings.key else { return Ok(Vec::new()) };
    let signer = Signer::load(key, settings.run).map_err(io::Error::other)?;
    let set = |generation| {
        let sign = |number| signer.subscriber(number, generation);
        numbers.clone().map(sign).collect::<Result<Vec<_>, _>>()
    };
    let sets = (0..sets).map(set).collect::<Result<Vec<_>, _>>();
    sets.map_err(|error| io::Error::other(format!("cannot sign: {error}")))
}
