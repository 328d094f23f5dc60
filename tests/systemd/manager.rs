//! A service manager's ear: the socket of `sd_notify(3)`.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::support::{PATIENCE, Setup};
use fanwire::stdx::clock;

/// What the broker under test believes to be systemd.
#[derive(Debug)]
pub(crate) struct Manager {
    socket: UnixDatagram,
    name: String,
}

impl Manager {
    /// Listens at an abstract name, which nobody has to remove.
    pub(crate) fn new() -> Manager {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fanwire-manager-{}-{number}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a short name");
        let socket = UnixDatagram::bind_addr(&address).expect("a name of our own");
        Manager { socket, name }
    }

    /// A broker that reports here.
    pub(crate) fn of(&self, setup: Setup) -> Setup {
        setup.variable("NOTIFY_SOCKET", format!("@{}", self.name))
    }

    /// The next message, if one comes within `wait`.
    pub(crate) fn message_within(&self, wait: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(wait)).expect("a socket");
        let mut buffer = [0; 4096];
        let size = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..size].to_vec()).expect("messages are text"))
    }

    pub(crate) fn message(&self) -> String {
        self.message_within(PATIENCE).expect("a message")
    }

    /// Passes over messages up to the one that is `wanted`.
    pub(crate) fn await_message(&self, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = clock::now() + PATIENCE;
        let mut others = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(clock::now());
            // A timeout of zero would mean none.
            let message = self.message_within(left.max(Duration::from_millis(1)));
            let message = message.unwrap_or_else(|| panic!("other messages only: {others:?}"));
            if wanted(&message) {
                return message;
            }
            others.push(message);
        }
    }

    /// Forgets what has come until now.
    pub(crate) fn forget(&self) {
        while self.message_within(Duration::from_millis(1)).is_some() {}
    }
}
