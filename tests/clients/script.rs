//! A client's script: runs to its end, and may ask for the broker to be restarted.
//!
//! A script gets the broker's address as its argument. It prints what it has checked, and a line
//! `@restart` or `@crash` where the broker has to stop, well or badly, and come back. It succeeds
//! by its exit code. Its standard input is a listening socket, for those that play a provider of
//! key sets; the folder of keys to sign with is `FANWIRE_KEYS`.

use std::io::{BufRead, BufReader, PipeReader};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use fanwire::stdx::clock;

use crate::broker::Broker;
use crate::keys;
use crate::tools::Tool;

/// A script takes a few seconds; a browser on a machine under load takes longer.
const RUN_TIME_MAX: Duration = Duration::from_mins(3);

/// A started script.
pub(crate) struct Script {
    child: Child,
    output: Option<PipeReader>,
}

impl Script {
    pub(crate) fn start(tool: &Tool, name: &str, broker: &Broker, provider: TcpListener) -> Script {
        let (output, input) = std::io::pipe().expect("a pipe can be made");
        let errors = input.try_clone().expect("a descriptor can be copied");
        let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
        // The command goes with this statement, and its writing ends of the pipe with it: the
        // reader sees the end once the script is gone.
        let child = tool
            .command()
            .arg(home.join(name))
            .arg(broker.address())
            .env("FANWIRE_KEYS", keys::folder())
            .stdin(Stdio::from(OwnedFd::from(provider)))
            .stdout(input)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        Script { child, output: Some(output) }
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// What it printed, where it fails or takes too long.
    pub(crate) fn run(mut self, broker: &mut Broker) -> Result<(), String> {
        let lines = read_lines(self.output.take().expect("a script is run once"));
        let deadline = clock::now() + RUN_TIME_MAX;
        let mut printed = String::new();
        loop {
            let left = deadline.saturating_duration_since(clock::now());
            match lines.recv_timeout(left) {
                Ok(line) if line == "@restart" => broker.restart(),
                Ok(line) if line == "@crash" => broker.crash(),
                Ok(line) => printed += &(line + "\n"),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    return Err(format!("not done after {RUN_TIME_MAX:?}\n{printed}"));
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = self.child.wait().map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("{status}\n{printed}")) }
    }
}

fn read_lines(output: PipeReader) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _nobody_waits_any_more = sender.send(line);
        }
    });
    lines
}

impl Drop for Script {
    fn drop(&mut self) {
        // It has usually ended by itself.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
