//! The final count: every subscription of a worker against the publisher's ledger.

use crate::control::SlowCount;
use crate::ledger::TopicLedger;
use crate::settings::Settings;
use crate::subscriber::Subscriber;
use crate::track::{End, Judgement, Start, Track};
use crate::verdict::{EXAMPLES_MAX, Kind, Tally, Violation};

/// One subscriber to be judged.
pub(crate) struct Judged<'a> {
    /// What it received.
    pub(crate) subscriber: &'a Subscriber,
    /// Whether it stopped reading, so that nothing is owed to it.
    pub(crate) is_slow: bool,
    /// Whether the server closed it.
    pub(crate) was_closed: bool,
}

/// Completes `tally` with what only the ledger can tell.
pub(crate) fn judge<'a>(
    settings: &Settings,
    all: impl Iterator<Item = Judged<'a>>,
    ledgers: &[TopicLedger],
    mut tally: Tally,
) -> (Tally, SlowCount) {
    let mut slow = SlowCount::default();
    for one in all {
        let subscriber = one.subscriber;
        for (index, topic) in (0_u32..).zip(settings.topics_of(subscriber.number)) {
            let Some(ledger) = ledgers.get(topic as usize) else { continue };
            for (_, track) in subscriber.past.iter().filter(|(of, _)| *of == index) {
                add(&mut tally, settings, subscriber.number, topic, track.judge(ledger, End::Cut));
            }
            let never_came = Track::new(Start::First);
            let current = match subscriber.tracks.get(index as usize) {
                Some(track) => track,
                // Cut and not back: nothing is owed. Never there at all: everything is.
                None if subscriber.past.is_empty() => &never_came,
                None => continue,
            };
            let judgement = current.judge(ledger, End::Standing);
            if one.is_slow {
                count_slow(&mut slow, one.was_closed, &judgement);
                let judgement = current.judge(ledger, End::Cut);
                add(&mut tally, settings, subscriber.number, topic, without_gaps(judgement));
            } else {
                add(&mut tally, settings, subscriber.number, topic, judgement);
            }
        }
    }
    (tally, slow)
}

fn count_slow(slow: &mut SlowCount, was_closed: bool, judgement: &Judgement) {
    if was_closed {
        slow.closed += 1;
    } else if judgement.violations.is_empty() {
        slow.complete += 1;
    } else {
        slow.incomplete += 1;
    }
}

/// A server may drop messages of one that does not read; nothing is expected of it.
fn without_gaps(mut judgement: Judgement) -> Judgement {
    judgement.violations.retain(|&(kind, _, _)| !matches!(kind, Kind::Gap | Kind::Missing));
    (judgement.expected, judgement.told_lost) = (0, 0);
    judgement
}

fn add(tally: &mut Tally, settings: &Settings, subscriber: u32, topic: u32, judgement: Judgement) {
    tally.expected += judgement.expected;
    tally.optional += judgement.optional;
    tally.told_lost += judgement.told_lost;
    for (kind, count, first) in judgement.violations {
        tally.count(kind, count);
        if tally.examples.len() < EXAMPLES_MAX {
            tally.examples.push(Violation {
                kind,
                subscriber,
                topic: settings.topic(topic),
                sequence: Some(first),
                noticed_ns: u64::MAX,
                detail: if count > 1 { format!("first of {count}") } else { String::new() },
            });
        }
    }
}
