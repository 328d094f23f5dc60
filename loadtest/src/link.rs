//! A crowd member's connection: a subscriber and its socket, moved by the readiness epoll reports.
//!
//! Invariants: one read per readiness, so that no member starves another; nothing is retried here.
//! Whoever drives it compares [`Link::is_live`] before and after, and ends what has failed.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

use socket2::Socket;

use crate::connect;
use crate::context::Context;
use crate::settings::{Door, Farewell, Settings};
use crate::subscriber::{Phase, Subscriber};
use crate::sys::{self, Epoll, Interest, Ready};
use crate::wire::{request, ws};

/// RFC 6455 §7.4.1: the endpoint is going away.
const GOING_AWAY: [u8; 2] = 1001_u16.to_be_bytes();

/// A member's connection, or the lack of one.
pub(crate) struct Link {
    /// What it has received.
    pub(crate) subscriber: Subscriber,
    /// When its latest connect began, nanoseconds.
    pub(crate) began_ns: u64,
    socket: Option<Socket>,
    out: Vec<u8>,
}

impl Link {
    /// Not connected.
    pub(crate) fn new(subscriber: Subscriber) -> Link {
        Link { subscriber, began_ns: 0, socket: None, out: Vec::new() }
    }

    /// Whether it is subscribed to everything.
    pub(crate) fn is_live(&self) -> bool {
        self.subscriber.phase == Phase::Live
    }

    /// Begins a connect; epoll reports it under `token`.
    ///
    /// # Errors
    /// When descriptors or ports are exhausted.
    pub(crate) fn open(
        &mut self,
        settings: &Settings,
        epoll: &Epoll,
        token: u64,
        credential: Option<&str>,
    ) -> io::Result<()> {
        self.began_ns = sys::monotonic_ns();
        self.subscriber.begin();
        let number = self.subscriber.number;
        let socket = connect::open(settings, number, false)?;
        epoll.add(socket.as_raw_fd(), token, Interest::ReadWrite)?;
        let memory = self.subscriber.memory.as_deref();
        self.out = request::subscribe(settings, number, credential, memory);
        self.socket = Some(socket);
        Ok(())
    }

    /// Moves what is ready, up to one scratch buffer of input.
    ///
    /// # Errors
    /// Why the connection is of no more use; then [`Link::end`] it.
    pub(crate) fn ready(
        &mut self,
        token: u64,
        ready: Ready,
        epoll: &Epoll,
        scratch: &mut [u8],
        context: &mut Context<'_>,
    ) -> Result<(), String> {
        let Some(socket) = &self.socket else { return Ok(()) };
        if ready.writable {
            connect::finish(socket).map_err(|error| error.to_string())?;
        }
        if ready.readable {
            self.read(scratch, context)?;
        }
        self.write(token, epoll, ready.writable)
    }

    /// Drops the connection, by our own decision.
    pub(crate) fn leave(&mut self, settings: &Settings) {
        self.subscriber.end();
        self.out = Vec::new();
        let Some(mut socket) = self.socket.take() else { return };
        // What fails here is gone already.
        let _ = match (settings.storm.farewell, settings.door) {
            (Farewell::Reset, _) => socket.set_linger(Some(Duration::ZERO)),
            (Farewell::Close, Door::Ws) => {
                let mut frame = Vec::new();
                ws::write(&mut frame, ws::opcode::CLOSE, &GOING_AWAY);
                socket.write_all(&frame)
            }
            (Farewell::Close, _) => Ok(()),
        };
    }

    /// The connection has ended without our wish.
    pub(crate) fn end(&mut self) {
        self.socket = None;
        self.out = Vec::new();
        self.subscriber.end();
    }

    fn read(&mut self, scratch: &mut [u8], context: &mut Context<'_>) -> Result<(), String> {
        let Some(mut socket) = self.socket.as_ref() else { return Ok(()) };
        let count = match socket.read(scratch) {
            Ok(0) => return Err("the server closed the connection".into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        let now_ns = sys::monotonic_ns();
        self.subscriber.receive(&scratch[..count], now_ns, context, &mut self.out)
    }

    /// Writes what waits; `was_waiting` tells that room was being watched for.
    fn write(&mut self, token: u64, epoll: &Epoll, was_waiting: bool) -> Result<(), String> {
        let Some(mut socket) = self.socket.as_ref() else { return Ok(()) };
        if !was_waiting && self.out.is_empty() {
            return Ok(());
        }
        match socket.write(&self.out) {
            Ok(count) => drop(self.out.drain(..count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.to_string()),
        }
        let is_waiting = !self.out.is_empty();
        if !is_waiting {
            self.out = Vec::new();
        }
        if is_waiting != was_waiting {
            let interest = if is_waiting { Interest::ReadWrite } else { Interest::Read };
            let changed = epoll.modify(socket.as_raw_fd(), token, interest);
            changed.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}
