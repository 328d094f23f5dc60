//! A child process of a run: what it is told, what it answers, and which of the kinds it is.
//!
//! Commands come on standard input, events go to standard output, one JSON line each. A child ends
//! when its parent's pipe does.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};

use crate::control::{Command, Event};
use crate::settings::Scenario;
use crate::shared::Counters;
use crate::{crowd, returner, sys, worker};

/// Runs a child process to its end; the counter page is the descriptor `counters_fd`.
///
/// # Errors
/// When the pipes or the counter page are unusable.
pub fn run(counters_fd: i32) -> io::Result<()> {
    sys::raise_descriptor_limit()?;
    sys::sharpen_timers();
    let counters = Counters::inherit(counters_fd)?;
    let (pipe, first) = CommandPipe::open()?;
    let Command::Setup { settings, worker } = first else {
        return Err(io::Error::other("the first command is not the setup"));
    };
    let row = counters
        .rows()
        .get(worker as usize)
        .ok_or_else(|| io::Error::other("the counter page has no such row"))?;
    let outcome = match worker.checked_sub(settings.processes) {
        None => worker::run(&settings, worker, row, pipe),
        Some(crowd) if settings.scenario == Scenario::Recover => {
            returner::run(&settings, crowd, row, pipe)
        }
        Some(crowd) => crowd::run(&settings, crowd, row, pipe),
    };
    if let Err(error) = &outcome {
        send(&Event::Fatal(error.to_string()))?;
    }
    outcome
}

/// Tells the parent something.
///
/// # Errors
/// When the parent is gone.
pub fn send(event: &Event) -> io::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

/// The parent's commands.
pub struct CommandPipe {
    /// Unbuffered, because epoll knows nothing of bytes that sit in a buffer of ours.
    input: File,
    pending: Vec<u8>,
}

impl CommandPipe {
    /// Waits for the first command; reads do not wait from then on.
    fn open() -> io::Result<(CommandPipe, Command)> {
        let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let mut line = Vec::new();
        let mut byte = [0];
        while input.read(&mut byte)? == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        let first = serde_json::from_slice(&line)?;
        sys::set_nonblocking(input.as_raw_fd())?;
        Ok((CommandPipe { input, pending: Vec::new() }, first))
    }

    /// The commands that have come; `None` when the parent is gone.
    ///
    /// # Errors
    /// When the pipe is broken or holds something else.
    pub fn read(&mut self) -> io::Result<Option<Vec<Command>>> {
        loop {
            let mut piece = [0; 8 * 1024];
            match self.input.read(&mut piece) {
                Ok(0) => return Ok(None),
                Ok(count) => self.pending.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let mut commands = Vec::new();
        while let Some(end) = memchr::memchr(b'\n', &self.pending) {
            let rest = self.pending.split_off(end + 1);
            let line = std::mem::replace(&mut self.pending, rest);
            commands.push(serde_json::from_slice(&line)?);
        }
        Ok(Some(commands))
    }
}

impl AsRawFd for CommandPipe {
    fn as_raw_fd(&self) -> RawFd {
        self.input.as_raw_fd()
    }
}
