//! What the main thread waits for: signals, and the end of the shards.
//!
//! SIGHUP asks for a reload, SIGTERM and SIGINT for the stop. Few of them wait at once, and those of
//! one kind that come besides count as one; so a reload always begins behind the last SIGHUP. While the
//! process stops, SIGHUP means nothing.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::stdx::clock;

/// Events that wait for the main thread; further signals wait with the kernel, one of each kind.
const EVENTS_MAX: usize = 2;

/// What has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Event {
    Reload,
    Stop,
    Drained,
}

/// What the main thread waits for.
pub(super) struct Events {
    sender: SyncSender<Event>,
    receiver: Receiver<Event>,
}

/// Says that the shards have ended.
pub(super) struct Drained(SyncSender<Event>);

impl Drained {
    pub(super) fn tell(&self) {
        // The main thread may have stopped waiting.
        let _ = self.0.send(Event::Drained);
    }
}

impl Events {
    /// Begins to take signals; before it, they end the process.
    pub(super) fn install() -> io::Result<Events> {
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        let (sender, receiver) = sync_channel(EVENTS_MAX);
        let events = sender.clone();
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in signals.forever() {
                let event = if signal == SIGHUP { Event::Reload } else { Event::Stop };
                if events.send(event).is_err() {
                    return;
                }
            }
        })?;
        Ok(Events { sender, receiver })
    }

    /// Waits for the signal to stop, and reloads meanwhile when asked to.
    pub(super) fn await_stop(&self, mut reload: impl FnMut()) {
        loop {
            match self.receiver.recv().expect("this side holds a sender, too") {
                Event::Reload => reload(),
                Event::Stop | Event::Drained => return,
            }
        }
    }

    /// Waits for another signal to stop or for the shards' end; `None` when `until` comes first.
    pub(super) fn await_end(&self, until: Instant) -> Option<&'static str> {
        loop {
            let left = until.saturating_duration_since(clock::now());
            match self.receiver.recv_timeout(left).ok()? {
                Event::Reload => {}
                Event::Stop => return Some("second signal"),
                Event::Drained => return Some("drained"),
            }
        }
    }

    /// For the thread that waits for the shards.
    pub(super) fn drained(&self) -> Drained {
        Drained(self.sender.clone())
    }
}
