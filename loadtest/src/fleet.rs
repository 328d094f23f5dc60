//! The parent's side of its workers: started from this same executable, spoken to over pipes.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use crate::control::{Command, Event};
use crate::settings::Settings;
use crate::shared::Counters;

/// The child processes of a run: workers, then crowds. Dropping it ends them: their pipes close, and they are waited for.
pub struct Fleet {
    children: Vec<(Child, Option<ChildStdin>)>,
    /// How many of them are workers.
    workers: u32,
    events: Receiver<(u32, Event)>,
}

impl Fleet {
    /// Starts the workers and crowds that `settings` ask for, and tells each its part.
    ///
    /// # Errors
    /// When a process cannot be started.
    pub fn start(settings: &Settings, counters: &Counters) -> io::Result<Fleet> {
        let (sender, events) = mpsc::channel();
        let mut fleet = Fleet { children: Vec::new(), workers: settings.processes, events };
        for worker in 0..settings.processes + settings.storm.processes {
            let mut child = std::process::Command::new(std::env::current_exe()?)
                .args(["worker", &counters.descriptor().to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            let output = child.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?;
            let input = child.stdin.take();
            fleet.children.push((child, input));
            let sender = sender.clone();
            thread::spawn(move || forward(worker, BufReader::new(output), &sender));
            let settings = Box::new(settings.clone());
            fleet.tell(worker, &Command::Setup { settings, worker })?;
        }
        Ok(fleet)
    }

    /// Process number of each child that is a worker, or else a crowd.
    pub fn pids(&self) -> impl Iterator<Item = (u32, bool)> {
        (0..).zip(&self.children).map(|(index, (child, _))| (child.id(), index < self.workers))
    }

    /// Sends one command to one child.
    ///
    /// # Errors
    /// When it is gone.
    pub fn tell(&mut self, child: u32, command: &Command) -> io::Result<()> {
        let mut line = serde_json::to_vec(command)?;
        line.push(b'\n');
        match self.children.get_mut(child as usize) {
            Some((_, Some(input))) => input.write_all(&line),
            _ => Err(io::Error::other(format!("process {child} is gone"))),
        }
    }

    /// Sends one command to all workers.
    ///
    /// # Errors
    /// When one of them is gone.
    pub fn tell_workers(&mut self, command: &Command) -> io::Result<()> {
        (0..self.workers).try_for_each(|worker| self.tell(worker, command))
    }

    /// Sends one command to all crowds.
    ///
    /// # Errors
    /// When one of them is gone.
    pub fn tell_crowds(&mut self, command: &Command) -> io::Result<()> {
        let count = u32::try_from(self.children.len()).unwrap_or(u32::MAX);
        (self.workers..count).try_for_each(|crowd| self.tell(crowd, command))
    }

    /// The next event, if one has come.
    pub fn event(&mut self) -> Option<(u32, Event)> {
        self.events.try_recv().ok()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for (_, input) in &mut self.children {
            *input = None;
        }
        for (child, _) in &mut self.children {
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
