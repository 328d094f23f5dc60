//! The socket on which systemd listens to its services: `sd_notify(3)`.
//!
//! A message is one datagram of `NAME=value` lines. The address comes from `NOTIFY_SOCKET`, a path or,
//! behind an `@`, an abstract name. The variable stays in the environment: the broker starts no other
//! program that could read it. Addresses of the form `vsock:…`, which reach out of a virtual machine,
//! are not spoken.
//!
//! Invariant: a manager that does not listen costs a message, never the service; no send waits longer
//! than [`SEND_TIMEOUT`].

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Longest wait for room in the manager's queue.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// The way to the service manager.
#[derive(Debug)]
pub(super) struct Notifier {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Notifier {
    /// For the address that `NOTIFY_SOCKET` names.
    ///
    /// # Errors
    /// When it is neither a path nor an abstract name, or descriptors have run out.
    pub(super) fn new(name: &OsStr) -> io::Result<Notifier> {
        let address = match name.as_bytes() {
            [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => {
                let problem = "NOTIFY_SOCKET is neither a path nor an abstract name";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        Ok(Notifier { socket, address })
    }

    /// Sends `NAME=value` lines, best effort.
    pub(super) fn send(&self, lines: &str) {
        // Addressed each time, not connected: the manager may have been started anew meanwhile.
        if let Err(error) = self.socket.send_to_addr(lines.as_bytes(), &self.address) {
            tracing::debug!(%error, "the service manager could not be told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 100];
        let size = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..size].to_vec()).unwrap()
    }

    #[test]
    fn messages_reach_paths_and_abstract_names() {
        let name = format!("fanwire-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let path = std::env::temp_dir().join(&name);
        let sockets =
            [UnixDatagram::bind_addr(&address).unwrap(), UnixDatagram::bind(&path).unwrap()];
        for (socket, named) in sockets.iter().zip([format!("@{name}").into(), path.clone()]) {
            let notifier = Notifier::new(named.as_os_str()).unwrap();
            notifier.send("READY=1\nSTATUS=good");
            notifier.send("STOPPING=1");
            assert_eq!(received(socket), "READY=1\nSTATUS=good");
            assert_eq!(received(socket), "STOPPING=1");
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_manager_that_is_gone_is_no_reason_to_fail() {
        Notifier::new(OsStr::new("/no/such.socket")).unwrap().send("READY=1");
        for name in ["", "vsock:2:1", "relative", &format!("/{}", "x".repeat(200))] {
            assert!(Notifier::new(OsStr::new(name)).is_err(), "{name}");
        }
    }
}
