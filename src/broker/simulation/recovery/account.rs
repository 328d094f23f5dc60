//! One subscriber's account of one topic: what came, what need not come, and where it stands.

use super::truth::Truth;
use crate::model::message::Message;
use crate::model::position::Position;

/// How the topic was asked for, which says what the answer may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    /// Without a position; latest messages may come first.
    Now,
    /// With the position that it keeps.
    Position,
    /// With a position of another life.
    Stale,
    /// With something that is no position of the topic.
    Unknown,
    /// Though subscribed already; whether with a position.
    Again(bool),
}

/// The account.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) topic: usize,
    /// Everything up to here came, or need not come; `None` before anything is owed.
    pub(super) got: Option<u64>,
    /// What is up to here need not come: it was told as lost, and may be.
    pub(super) excused: u64,
    /// The position that the client keeps for the topic.
    pub(super) at: Option<Position>,
    pub(super) is_on: bool,
    pub(super) is_answered: bool,
}

impl Account {
    pub(super) fn new(topic: usize) -> Account {
        let (is_on, is_answered) = (false, false);
        Account { topic, got: None, excused: 0, at: None, is_on, is_answered }
    }

    /// A message of the topic.
    pub(super) fn take(&mut self, truth: &Truth, message: &Message, now_us: u64) {
        let offset = message.position.offset;
        assert!(self.is_on, "delivered to who is not subscribed: {message:?}");
        assert!(self.is_answered, "delivered before the answer");
        let got = self.got.expect("who is answered is owed something");
        assert!(offset > got, "{offset} came again or late behind {got}: {self:?}");
        self.pass(truth, offset - 1, now_us);
        let topic = &truth.topics[self.topic];
        let placed = topic.behind(offset - 1).first().expect("only what was placed comes");
        assert_eq!((placed.offset, placed.number), (offset, super::world::number(message)));
        assert_eq!(
            (message.position, &message.publication.topic),
            (topic.position(offset), &topic.name)
        );
        self.got = Some(offset);
    }

    /// The client stands here now.
    pub(super) fn stand(&mut self, truth: &Truth, position: Position, now_us: u64) {
        assert_eq!(position, truth.topics[self.topic].position(position.offset));
        self.at = Some(position);
        self.pass(truth, position.offset, now_us);
    }

    /// Nothing up to here will come any more.
    pub(super) fn pass(&mut self, truth: &Truth, through: u64, now_us: u64) {
        let Some(got) = self.got.filter(|got| *got < through) else { return };
        let behind = truth.topics[self.topic].behind(got);
        let passed = behind.iter().take_while(|placed| placed.offset <= through);
        for missing in passed.filter(|placed| placed.offset > self.excused) {
            assert!(
                missing.expires_us <= now_us,
                "{missing:?} is passed over on the way to {through}: {self:?}"
            );
        }
        self.got = Some(through);
    }

    /// It was told that something is lost, and what is up to here may be.
    pub(super) fn excuse(&mut self, through: u64) {
        self.excused = self.excused.max(through);
    }
}
