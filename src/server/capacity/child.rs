//! A broker of one's own, in a child process on loopback, with defaults but for the shards' keys that
//! the environment sets (`FANWIRE_SHARDS_…`): so their effect can be measured.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// Bytes of the greeting's first line at most.
const GREETING_SIZE_MAX: u64 = 1024;

/// A running broker; it ends with its owner.
pub(super) struct Broker {
    child: Child,
    /// Where it listens.
    pub(super) address: SocketAddr,
}

impl Broker {
    /// Starts this program once more, as a broker on a free port of loopback.
    ///
    /// # Errors
    /// When it cannot be run or does not come up, as a sentence.
    pub(super) fn start() -> Result<Broker, String> {
        let program = std::env::current_exe()
            .map_err(|error| format!("cannot find this program's own file: {error}"))?;
        let mut command = Command::new(program);
        // Applications, addresses and stores of the real broker are not this one's; its shards are.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("FANWIRE_") && !text.starts_with("FANWIRE_SHARDS_") {
                command.env_remove(name);
            }
        }
        let child = command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("FANWIRE_LOG_LEVEL", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start a broker: {error}"))?;
        let unspecified = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut broker = Broker { child, address: unspecified };
        let address = broker.greeting().ok_or("the broker that was started did not come up")?;
        broker.address = address;
        Ok(broker)
    }

    /// The address in the first line that it prints.
    fn greeting(&mut self) -> Option<SocketAddr> {
        let mut out = BufReader::new(self.child.stdout.as_mut()?.take(GREETING_SIZE_MAX));
        let mut line = String::new();
        out.read_line(&mut line).ok()?;
        line.trim_end().rsplit_once("http://")?.1.parse().ok()
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It holds nothing that has to be kept. Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
