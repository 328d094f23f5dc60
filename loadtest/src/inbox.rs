//! Where a worker's deliveries end: recognised, checked, timed, counted.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::latency::{Latency, Sparse};
use crate::marker::Marker;
use crate::settings::Settings;
use crate::shared::Row;
use crate::track::{Arrival, Track};
use crate::verdict::{Kind, Tally, Violation};
use crate::wire::envelope::{Content, Recognizer};
use crate::wire::notice::{Lost, Welcome};

/// The receiving end of one worker.
pub struct Inbox<'a> {
    settings: &'a Settings,
    recognizer: Recognizer,
    row: &'a Row,
    /// What was wrong so far.
    pub tally: Tally,
    /// Latency from the actual send, since it was last taken.
    pub raw: Latency,
    /// Latency from the intended send, since it was last taken.
    pub corrected: Latency,
    /// Messages intended before this moment are verified but not timed.
    pub measure_from_ns: u64,
    /// Phases of a storm: the first intended send of each, ascending, and its latency since it was
    /// last taken.
    phases: Vec<(u64, Latency)>,
}

/// What a subscriber has to act upon.
#[derive(Debug)]
pub enum Taken<'t> {
    /// Nothing: what came was no concern of its own, or was wrong.
    Nothing,
    /// A message of one of its subscriptions.
    Delivered {
        /// Index of the subscription.
        index: usize,
        /// When the message was sent, nanoseconds.
        sent_ns: u64,
        /// Its position, where it has one of its own.
        position: Option<Cow<'t, str>>,
    },
    /// It is welcomed.
    Welcome(Welcome),
    /// Messages are lost; the tracks know already.
    Lost(Lost),
}

/// Adds to a counter that only this process writes.
pub fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed) + by, Ordering::Relaxed);
}

impl<'a> Inbox<'a> {
    /// An empty inbox that counts into `row`.
    #[must_use]
    pub fn new(settings: &'a Settings, row: &'a Row) -> Inbox<'a> {
        Inbox {
            settings,
            recognizer: Recognizer::new(settings),
            row,
            tally: Tally::default(),
            raw: Latency::default(),
            corrected: Latency::default(),
            measure_from_ns: u64::MAX,
            phases: Vec::new(),
        }
    }

    /// Takes one text frame or event of `subscriber`, whose subscriptions are `tracks`.
    pub fn take<'t>(
        &mut self,
        subscriber: u32,
        tracks: &mut [Track],
        text: &'t [u8],
        now_ns: u64,
    ) -> Taken<'t> {
        let (marker, position) = match self.recognizer.recognize(text) {
            Content::Delivery(marker, position) => (marker, position),
            Content::Welcome(welcome) => return Taken::Welcome(welcome),
            Content::Lost(lost) => return self.told_lost(subscriber, tracks, lost, now_ns),
            Content::Other => {
                self.tally.other_frames += 1;
                return Taken::Nothing;
            }
            Content::Corrupt(detail) => {
                self.wrong(Kind::Corrupt, subscriber, None, None, now_ns, detail);
                return Taken::Nothing;
            }
            Content::Alien(detail) => {
                self.wrong(Kind::Alien, subscriber, None, None, now_ns, detail);
                return Taken::Nothing;
            }
        };
        bump(&self.row.delivered, 1);
        let (topic, sequence) = (marker.topic, marker.sequence);
        let index = self.index_of(subscriber, topic);
        let Some((index, track)) = index.and_then(|i| Some((i, tracks.get_mut(i)?))) else {
            let detail = "not subscribed to it".to_owned();
            self.wrong(Kind::Alien, subscriber, Some(topic), Some(sequence), now_ns, detail);
            return Taken::Nothing;
        };
        let wrong = match track.arrive(sequence) {
            Arrival::InOrder => None,
            Arrival::Late => Some(Kind::Reorder),
            Arrival::Duplicate => Some(Kind::Duplicate),
        };
        if let Some(kind) = wrong {
            self.wrong(kind, subscriber, Some(topic), Some(sequence), now_ns, String::new());
        }
        self.time(subscriber, &marker, now_ns);
        Taken::Delivered { index, sent_ns: marker.sent_ns, position }
    }

    fn time(&mut self, subscriber: u32, marker: &Marker, now_ns: u64) {
        // One that stops reading delays only itself; the others' times are what is asked for.
        let is_timed = self.settings.slow == 0 || !self.settings.is_slow(subscriber);
        if is_timed && marker.intended_ns >= self.measure_from_ns {
            self.raw.record(now_ns.saturating_sub(marker.sent_ns));
            let corrected_ns = now_ns.saturating_sub(marker.intended_ns);
            self.corrected.record(corrected_ns);
            let is_of = |(from_ns, _): &&mut (u64, Latency)| *from_ns <= marker.intended_ns;
            if let Some((_, latency)) = self.phases.iter_mut().rev().find(is_of) {
                latency.record(corrected_ns);
            }
        }
    }

    /// Takes the data of an event stream's `lost` event.
    pub fn take_lost<'t>(
        &mut self,
        subscriber: u32,
        tracks: &mut [Track],
        data: &[u8],
        now_ns: u64,
    ) -> Taken<'t> {
        match Lost::read(data) {
            Ok(lost) => self.told_lost(subscriber, tracks, lost, now_ns),
            Err(detail) => {
                self.wrong(Kind::Corrupt, subscriber, None, None, now_ns, detail);
                Taken::Nothing
            }
        }
    }

    fn told_lost<'t>(
        &mut self,
        subscriber: u32,
        tracks: &mut [Track],
        lost: Lost,
        now_ns: u64,
    ) -> Taken<'t> {
        let topics: Vec<String> =
            self.settings.topics_of(subscriber).map(|t| self.settings.topic(t)).collect();
        for name in lost.topics() {
            let index = topics.iter().position(|topic| topic == name);
            let Some(track) = index.and_then(|index| tracks.get_mut(index)) else {
                let detail = format!("a loss of topic {name:?}, not subscribed to it");
                self.wrong(Kind::Alien, subscriber, None, None, now_ns, detail);
                continue;
            };
            self.tally.lost_statements += 1;
            track.told_lost(now_ns);
        }
        Taken::Lost(lost)
    }

    /// Messages intended from `from_ns` on belong to the next phase, however late they come.
    pub fn enter_phase(&mut self, from_ns: u64) {
        self.phases.push((from_ns, Latency::default()));
    }

    /// The latency of each phase, since it was last taken.
    pub fn take_phases(&mut self) -> Vec<Sparse> {
        self.phases.iter_mut().map(|(_, latency)| latency.take()).collect()
    }

    /// Which of a subscriber's subscriptions the topic is, if it is one.
    fn index_of(&self, subscriber: u32, topic: u32) -> Option<usize> {
        let topics = self.settings.topics;
        let first = self.settings.first_topic_of(subscriber);
        (topic < topics).then(|| ((topic + topics - first) % topics) as usize)
    }

    /// Counts a violation.
    pub fn wrong(
        &mut self,
        kind: Kind,
        subscriber: u32,
        topic: Option<u32>,
        sequence: Option<u64>,
        noticed_ns: u64,
        detail: String,
    ) {
        bump(&self.row.wrong, 1);
        let topic = topic.map_or(String::new(), |topic| self.settings.topic(topic));
        self.tally.add(Violation { kind, subscriber, topic, sequence, noticed_ns, detail });
    }

    /// The final tally, which also tells how many envelopes were parsed in full.
    #[must_use]
    pub fn into_tally(mut self) -> Tally {
        self.tally.delivered = self.row.delivered.load(Ordering::Relaxed);
        self.tally.envelopes_parsed = self.recognizer.parsed;
        self.tally
    }
}
