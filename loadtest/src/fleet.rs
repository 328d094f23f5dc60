//! The parent's side of its workers: started from this same executable, spoken to over pipes.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use crate::control::{Command, Event};
use crate::settings::Settings;
use crate::shared::Counters;

/// The workers of a run. Dropping it ends them: their pipes close, and they are waited for.
pub struct Fleet {
    workers: Vec<(Child, Option<ChildStdin>)>,
    events: Receiver<(u32, Event)>,
}

impl Fleet {
    /// Starts `settings.processes` workers and tells each its part.
    ///
    /// # Errors
    /// When a process cannot be started.
    pub fn start(settings: &Settings, counters: &Counters) -> io::Result<Fleet> {
        let (sender, events) = mpsc::channel();
        let mut fleet = Fleet { workers: Vec::new(), events };
        for worker in 0..settings.processes {
            let mut child = std::process::Command::new(std::env::current_exe()?)
                .args(["worker", &counters.descriptor().to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            let output = child.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?;
            let input = child.stdin.take();
            fleet.workers.push((child, input));
            let sender = sender.clone();
            thread::spawn(move || forward(worker, BufReader::new(output), &sender));
            let settings = Box::new(settings.clone());
            fleet.tell(worker, &Command::Setup { settings, worker })?;
        }
        Ok(fleet)
    }

    /// Sends one command to one worker.
    ///
    /// # Errors
    /// When the worker is gone.
    pub fn tell(&mut self, worker: u32, command: &Command) -> io::Result<()> {
        let mut line = serde_json::to_vec(command)?;
        line.push(b'\n');
        match self.workers.get_mut(worker as usize) {
            Some((_, Some(input))) => input.write_all(&line),
            _ => Err(io::Error::other(format!("worker {worker} is gone"))),
        }
    }

    /// Sends one command to all.
    ///
    /// # Errors
    /// When one of them is gone.
    pub fn tell_all(&mut self, command: &Command) -> io::Result<()> {
        let count = u32::try_from(self.workers.len()).unwrap_or(u32::MAX);
        (0..count).try_for_each(|worker| self.tell(worker, command))
    }

    /// The next event, if one has come.
    pub fn event(&mut self) -> Option<(u32, Event)> {
        self.events.try_recv().ok()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for (_, input) in &mut self.workers {
            *input = None;
        }
        for (child, _) in &mut self.workers {
            // A worker that has died already has nothing more to tell.
            let _ = child.wait();
        }
    }
}

fn forward(worker: u32, output: impl BufRead, sender: &Sender<(u32, Event)>) {
    let mut had_final = false;
    for line in output.lines() {
        let event = match line.map(|line| serde_json::from_str(&line)) {
            Ok(Ok(event)) => event,
            Ok(Err(error)) => Event::Fatal(format!("unreadable event: {error}")),
            Err(error) => Event::Fatal(error.to_string()),
        };
        had_final |= matches!(event, Event::Final(_) | Event::Fatal(_));
        if sender.send((worker, event)).is_err() {
            return;
        }
    }
    if !had_final {
        // The receiver may be gone when the run ended early; then nobody needs to know.
        let _ = sender.send((worker, Event::Fatal("the worker process died".into())));
    }
}
