//! A process of subscribers that are dropped all at once and come back, each when its own wait is
//! over, for what they have missed.
//!
//! Open loop: a return is due when the server's `retry` or, without one, the member's place in the
//! jitter window says so, however many handshakes are under way. An attempt that fails is repeated
//! after a growing pause. What came before the drop and after it is one sequence to the checker.
//!
//! Invariants: a gathering ends when each member is back, or when [`BACK_TIME_MAX`] has passed since
//! the last return was due; a member is back when a message that was sent after its connect has
//! come, for then all that it had missed must have come too.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::beat::Beat;
use crate::child::{CommandPipe, send};
use crate::context::Context;
use crate::control::{Command, Event, Final, Gathered, Interval, SlowCount};
use crate::crowd::sign;
use crate::inbox::{Inbox, bump};
use crate::judge::{self, Judged};
use crate::latency::Latency;
use crate::ledger::TopicLedger;
use crate::link::Link;
use crate::run::per;
use crate::settings::{Door, Settings};
use crate::shared::Row;
use crate::subscriber::Subscriber;
use crate::sys::{self, Epoll, Interest, Ready};
use crate::verdict::Kind;

const COMMANDS: u64 = u64::MAX;
const SCRATCH_SIZE: usize = 256 * 1024;
/// Connects begun in one turn, so that reading is not starved.
const CONNECTS_PER_TURN_MAX: usize = 64;
/// Errors reported per gathering.
const ERRORS_MAX: usize = 3;
/// How often slow handshakes are looked for.
const INTERVAL_NS: u64 = 1_000_000_000;
/// First pause before an attempt is repeated; doubles up to five times.
const RETRY_NS: u64 = 100_000_000;
/// After the last return was due; who is not back by then has failed.
const BACK_TIME_MAX: Duration = Duration::from_secs(20);

struct Member {
    link: Link,
    attempt: u32,
    /// When the newest message it had before its connect was sent, nanoseconds.
    had_ns: u64,
    /// Whether the gathering waits for it.
    is_awaited: bool,
}

struct Returner<'a> {
    settings: &'a Settings,
    row: &'a Row,
    context: Context<'a>,
    epoll: Epoll,
    members: Vec<Member>,
    tokens: Vec<String>,
    pipe: CommandPipe,
    /// When the parent wants the next gathering.
    order: Option<u64>,
    /// Gatherings begun; the first is the arrival.
    rounds: u32,
    /// (when, member) of connects to come.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    /// Members that the gathering waits for, and until when.
    awaited: usize,
    give_up_ns: u64,
    is_gathering: bool,
    gathered: Gathered,
    handshake: Latency,
    scratch: Vec<u8>,
    beat: Beat,
    is_done: bool,
}

/// Runs the returners' process number `crowd` to its end.
///
/// # Errors
/// When the key cannot be used, or the pipes or epoll fail.
pub(crate) fn run(settings: &Settings, crowd: u32, row: &Row, pipe: CommandPipe) -> io::Result<()> {
    if settings.storm.nice > 0 {
        sys::be_nice(settings.storm.nice.into())?;
    }
    let doors = &settings.recover.doors;
    let door = doors.get(crowd as usize % doors.len().max(1)).copied();
    let own = Settings { door: door.unwrap_or(settings.door), ..settings.clone() };
    Returner::new(&own, crowd, row, pipe)?.run()
}

impl<'a> Returner<'a> {
    fn new(
        settings: &'a Settings,
        crowd: u32,
        row: &'a Row,
        pipe: CommandPipe,
    ) -> io::Result<Returner<'a>> {
        let numbers = settings.crowd_share(crowd);
        let epoll = Epoll::new()?;
        epoll.add(pipe.as_raw_fd(), COMMANDS, Interest::Read)?;
        let tokens = sign(settings, numbers.clone(), 1)?.pop().unwrap_or_default();
        let count = settings.topics_per_subscriber as usize;
        let positions = if settings.door == Door::Ws { count } else { 0 };
        let members = numbers.map(|number| Member::new(number, positions)).collect();
        bump(&row.crowd_ready, 1);
        Ok(Returner {
            settings,
            row,
            context: Context::new(settings, Inbox::new(settings, row)),
            epoll,
            members,
            tokens,
            pipe,
            order: None,
            rounds: 0,
            due: BinaryHeap::new(),
            awaited: 0,
            give_up_ns: 0,
            is_gathering: false,
            gathered: Gathered::default(),
            handshake: Latency::default(),
            scratch: vec![0; SCRATCH_SIZE],
            beat: Beat::new(),
            is_done: false,
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut ready: Vec<Ready> = Vec::new();
        let mut looked_ns = sys::monotonic_ns();
        while !self.is_done {
            let timeout = self.timeout(sys::monotonic_ns(), looked_ns);
            self.epoll.wait(&mut ready, timeout)?;
            let woke_ns = sys::monotonic_ns();
            for event in &ready {
                if event.token == COMMANDS {
                    self.read_commands()?;
                } else {
                    self.ready(usize::try_from(event.token).unwrap_or(usize::MAX), *event);
                }
            }
            self.obey();
            self.begin_due();
            let now_ns = sys::monotonic_ns();
            if now_ns - looked_ns >= INTERVAL_NS {
                looked_ns = now_ns;
                self.expire(now_ns);
                self.row.cpu_ns.store(sys::thread_cpu_ns(), Ordering::Relaxed);
            }
            self.beat.turn(now_ns - woke_ns);
            self.report(now_ns)?;
        }
        Ok(())
    }

    fn timeout(&self, now_ns: u64, looked_ns: u64) -> Duration {
        let next = self.due.peek().map_or(u64::MAX, |Reverse((at_ns, _))| *at_ns);
        let until_ns = next.min(self.order.unwrap_or(u64::MAX)).min(looked_ns + INTERVAL_NS);
        Duration::from_nanos(until_ns.saturating_sub(now_ns))
    }

    fn read_commands(&mut self) -> io::Result<()> {
        let commands = self.pipe.read()?;
        self.is_done = commands.is_none();
        for command in commands.unwrap_or_default() {
            match command {
                Command::Gather { at_ns, tokens: Some(_) } => self.order = Some(at_ns),
                Command::Judge { ledgers } => self.judge(&ledgers)?,
                _ => return Err(io::Error::other("not a command for those who return")),
            }
        }
        Ok(())
    }

    /// Begins the gathering that was ordered, when its time has come.
    fn obey(&mut self) {
        let now_ns = sys::monotonic_ns();
        if self.order.is_none_or(|at_ns| now_ns < at_ns) {
            return;
        }
        self.order = None;
        self.beat = Beat::new();
        self.is_gathering = true;
        self.awaited = self.members.len();
        self.due.clear();
        let mut last_ns = 0;
        for index in 0..self.members.len() {
            let wait_ns = self.wait_ns(index);
            let member = &mut self.members[index];
            member.link.leave(self.settings);
            (member.attempt, member.is_awaited) = (0, true);
            self.due.push(Reverse((now_ns + wait_ns, index)));
            last_ns = last_ns.max(wait_ns);
        }
        self.row.crowd_live.store(0, Ordering::Relaxed);
        self.gathered.returned.window_ns = last_ns;
        let grace_ns = u64::try_from(BACK_TIME_MAX.as_nanos()).unwrap_or(u64::MAX);
        self.give_up_ns = now_ns + last_ns + grace_ns;
        self.rounds += 1;
    }

    /// How long a member waits before it comes.
    fn wait_ns(&self, index: usize) -> u64 {
        let subscriber = &self.members[index].link.subscriber;
        if self.rounds == 0 {
            let processes = f64::from(self.settings.storm.processes.max(1));
            return sys::nanoseconds(per(index as u64, self.settings.connect_rate) * processes);
        }
        match subscriber.memory.as_ref().and_then(|memory| memory.retry_ms) {
            Some(retry_ms) => retry_ms.saturating_mul(1_000_000),
            None => sys::nanoseconds(
                place(subscriber.number, self.rounds) * self.settings.recover.jitter_s,
            ),
        }
    }

    fn begin_due(&mut self) {
        let now_ns = sys::monotonic_ns();
        for _ in 0..CONNECTS_PER_TURN_MAX {
            match self.due.peek() {
                Some(Reverse((at_ns, _))) if *at_ns <= now_ns => {}
                _ => return,
            }
            let Some(Reverse((_, index))) = self.due.pop() else { return };
            self.begin(index);
        }
    }

    fn begin(&mut self, index: usize) {
        let credential = self.tokens.get(index).map(String::as_str);
        let member = &mut self.members[index];
        member.attempt += 1;
        member.had_ns = member.newest_ns();
        let opened = member.link.open(self.settings, &self.epoll, index as u64, credential);
        if let Err(error) = opened {
            self.gone(index, &error.to_string());
        }
    }

    fn ready(&mut self, index: usize, ready: Ready) {
        let Some(member) = self.members.get_mut(index) else { return };
        let link = &mut member.link;
        let was_live = link.is_live();
        let (scratch, context) = (&mut self.scratch, &mut self.context);
        let outcome = link.ready(index as u64, ready, &self.epoll, scratch, context);
        if !was_live && link.is_live() {
            self.handshake.record(sys::monotonic_ns() - link.began_ns);
            bump(&self.row.crowd_live, 1);
        }
        if member.is_awaited && member.is_back(self.rounds) {
            member.is_awaited = false;
            self.awaited -= 1;
            self.gathered.welcomed += 1;
            self.gathered.last_ns = sys::monotonic_ns();
        }
        if let Err(reason) = outcome {
            self.gone(index, &reason);
        }
    }

    /// A connection has ended without our wish: a refusal, to be tried again, or else a fault.
    fn gone(&mut self, index: usize, reason: &str) {
        let is_stream = self.settings.door != Door::Ws;
        let member = &mut self.members[index];
        let was_live = member.link.is_live();
        // A stream that ends before anything has come is how a server puts a stream off.
        let is_refused = !was_live || (is_stream && member.newest_ns() == member.had_ns);
        member.link.end();
        if was_live {
            self.row.crowd_live.fetch_sub(1, Ordering::Relaxed);
        }
        let number = member.link.subscriber.number;
        let now_ns = sys::monotonic_ns();
        if is_refused {
            self.gathered.returned.refused += 1;
            bump(&self.row.crowd_failures, 1);
        } else {
            self.gathered.lost += 1;
            let inbox = &mut self.context.inbox;
            inbox.wrong(Kind::Disconnected, number, None, None, now_ns, reason.to_owned());
        }
        if self.gathered.errors.len() < ERRORS_MAX {
            self.gathered.errors.push(format!("member {number}: {reason}"));
        }
        let memory = self.members[index].link.subscriber.memory.as_ref();
        let asked_ns = memory.and_then(|memory| memory.retry_ms).unwrap_or(0) * 1_000_000;
        let pause_ns = (RETRY_NS << self.members[index].attempt.min(5)).max(asked_ns);
        let spread_ns = sys::nanoseconds(place(number, self.rounds) * per(pause_ns, 1e9));
        self.due.push(Reverse((now_ns + pause_ns + spread_ns, index)));
    }

    fn expire(&mut self, now_ns: u64) {
        let limit_ns = sys::nanoseconds(self.settings.connect_timeout_s);
        for index in 0..self.members.len() {
            let link = &self.members[index].link;
            if link.subscriber.is_arriving() && now_ns - link.began_ns > limit_ns {
                self.gone(index, "the welcome did not come in time (--connect-timeout)");
            }
        }
    }

    /// Tells the parent when everybody is back or has failed.
    fn report(&mut self, now_ns: u64) -> io::Result<()> {
        if !self.is_gathering || (self.awaited > 0 && now_ns < self.give_up_ns) {
            return Ok(());
        }
        self.is_gathering = false;
        let mut gathered = std::mem::take(&mut self.gathered);
        gathered.failed = self.awaited as u64;
        gathered.handshake = self.handshake.take();
        (gathered.cpu_share, gathered.turn_ns_max) = self.beat.now();
        for member in &mut self.members {
            member.is_awaited = false;
            if let Some(memory) = &mut member.link.subscriber.memory {
                gathered.returned.brought.add(std::mem::take(&mut memory.brought));
            }
        }
        send(&Event::Gathered(Box::new(gathered)))
    }

    fn judge(&mut self, ledgers: &[TopicLedger]) -> io::Result<()> {
        let fresh = Inbox::new(self.settings, self.row);
        let tally = std::mem::replace(&mut self.context.inbox, fresh).into_tally();
        let all = self.members.iter().map(|member| Judged {
            subscriber: &member.link.subscriber,
            is_slow: false,
            was_closed: false,
        });
        let (tally, _) = judge::judge(self.settings, all, ledgers, tally);
        let last = Final { tally, slow: SlowCount::default(), last: Interval::default() };
        send(&Event::Final(Box::new(last)))
    }
}

impl Member {
    fn new(number: u32, positions: usize) -> Member {
        let link = Link::new(Subscriber::with_memory(number, positions));
        Member { link, attempt: 0, had_ns: 0, is_awaited: false }
    }

    /// When the newest message that has come was sent, nanoseconds; 0 = none has.
    fn newest_ns(&self) -> u64 {
        self.link.subscriber.memory.as_ref().map_or(0, |memory| memory.sent_ns)
    }

    /// Before publishing begins there is nothing to wait for but the welcome.
    fn is_back(&self, rounds: u32) -> bool {
        self.link.is_live() && (rounds == 1 || self.newest_ns() >= self.link.began_ns)
    }
}

/// A member's place in 0..1 in this round, so that runs repeat exactly.
fn place(number: u32, round: u32) -> f64 {
    let mixed = (u64::from(number) << 32 | u64::from(round)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    per(mixed >> 32, 4_294_967_296.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_spread_over_the_window_and_change_from_round_to_round() {
        let mut counts = [0_u32; 10];
        for number in 0..10_000 {
            let tenth = place(number, 1) * 10.0;
            let index = (0..10).rfind(|&i| f64::from(i) <= tenth).unwrap();
            counts[usize::try_from(index).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
        let same = (0..1000).filter(|&n| (place(n, 1) - place(n, 2)).abs() < 0.01).count();
        assert!(same < 50, "{same}");
    }
}
