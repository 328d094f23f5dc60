//! What the connections of one process share: the run, the inbox, and scratch room.
//!
//! Scratch room holds nothing between two calls.

use flate2::{Decompress, FlushDecompress, Status};

use crate::inbox::Inbox;
use crate::settings::Settings;
use crate::track::Start;
use crate::wire::ws;

/// What the connections of one worker share.
pub struct Context<'a> {
    /// The run.
    pub settings: &'a Settings,
    /// Where deliveries go.
    pub inbox: Inbox<'a>,
    /// Whether publishing may have begun, so that a new subscription owes only what follows it.
    pub publishing: bool,
    /// Where an incomplete tail and what follows it are put together.
    pub(crate) joined: Vec<u8>,
    inflater: Decompress,
    /// The message inflated last.
    pub(crate) inflated: Vec<u8>,
}

impl<'a> Context<'a> {
    /// The context of a worker that has not begun.
    #[must_use]
    pub fn new(settings: &'a Settings, inbox: Inbox<'a>) -> Context<'a> {
        Context {
            settings,
            inbox,
            publishing: false,
            joined: Vec::new(),
            inflater: Decompress::new(false),
            inflated: Vec::new(),
        }
    }

    /// From where on a subscription made at `now_ns` owes messages.
    #[must_use]
    pub fn start(&self, now_ns: u64) -> Start {
        if self.publishing { Start::Confirmed(now_ns) } else { Start::First }
    }

    /// Inflates one message into `inflated`.
    ///
    /// # Errors
    /// When it is damaged or larger than [`ws::PAYLOAD_SIZE_MAX`].
    pub fn inflate(&mut self, payload: &[u8]) -> Result<(), String> {
        // RFC 7692 §7.2.2: the sender removed these four bytes; no context is taken over.
        const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
        self.inflater.reset(false);
        self.inflated.clear();
        self.inflated.reserve(4 * payload.len() + 1024);
        for part in [payload, &TAIL] {
            let mut at = 0;
            while at < part.len() {
                let before = self.inflater.total_in();
                let status = self
                    .inflater
                    .decompress_vec(&part[at..], &mut self.inflated, FlushDecompress::Sync)
                    .map_err(|error| format!("a compressed message is damaged: {error}"))?;
                at += usize::try_from(self.inflater.total_in() - before).unwrap_or(usize::MAX);
                if status == Status::StreamEnd {
                    return Ok(());
                }
                if self.inflated.len() as u64 > ws::PAYLOAD_SIZE_MAX {
                    return Err("a compressed message is too large".into());
                }
                if self.inflated.len() == self.inflated.capacity() {
                    self.inflated.reserve(self.inflated.len());
                }
            }
        }
        Ok(())
    }
}
