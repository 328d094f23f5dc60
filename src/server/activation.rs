//! Where the shards' listening sockets come from: bound here, or passed by systemd (`sd_listen_fds(3)`).
//!
//! Passed sockets are dealt to the shards, one each. Fewer or more of them than shards is an error: a
//! shard without a socket would stand idle, and two shards at one socket would get their connections by
//! chance, where the kernel deals them out evenly among sockets of one `SO_REUSEPORT` group. Sockets of
//! different addresses are an error too: each address would be served by some of the shards only.
//!
//! systemd keeps its own hold on what it passes, so clients that arrive while the broker restarts wait in
//! the kernel's queue.

use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;

use super::launch::{LaunchError, doing};
use crate::model::application::Applications;
use crate::shard::Listener;
use crate::shard::options::SocketOptions;

/// Why the passed sockets cannot be used.
#[derive(Debug)]
enum ActivationError {
    /// Another number of sockets than shards.
    Count { passed: usize, shards: u16 },
    /// One of them is no listening TCP socket.
    Kind { name: String, problem: String },
    /// They listen at several addresses.
    Addresses(SocketAddr, SocketAddr),
    /// Everyone could use an application that is open to all.
    Exposed(SocketAddr, String),
}

impl std::fmt::Display for ActivationError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ActivationError::Count { passed, shards } => write!(
                f,
                "{passed} sockets for {shards} shards: have one ListenStream= line per shard and \
                 ReusePort=yes in the socket unit, or set shards.count = {passed}"
            ),
            ActivationError::Kind { name, problem } => {
                write!(f, "what systemd passed as `{name}` is no listening TCP socket: {problem}")
            }
            ActivationError::Addresses(one, other) => write!(
                f,
                "the sockets that systemd passed listen at {one} and {other}; give all of them \
                 one address"
            ),
            ActivationError::Exposed(address, application) => write!(
                f,
                "{address} can be reached from other machines, and the application \
                 `{application}` is open to everyone; declare keys for it and open = false, or \
                 have the socket unit listen on loopback"
            ),
        }
    }
}

impl std::error::Error for ActivationError {}

/// systemd's listeners, one per shard, if it passed any.
///
/// # Errors
/// When what it passed does not fit.
pub(super) fn listeners(
    listen: SocketAddr,
    shard_count: u16,
    backlog: u32,
    options: &SocketOptions,
    applications: &Applications,
) -> Result<Option<Vec<Listener>>, LaunchError> {
    let taking = || "taking over the sockets that systemd passed".to_owned();
    let Some(passed) = doing(passed(), taking)? else { return Ok(None) };
    let adopt = |socket| Listener::adopt(socket, backlog, options);
    let adopted: std::io::Result<Vec<_>> = passed.into_iter().map(adopt).collect();
    let adopted = doing(adopted, taking)?;
    let addresses: Vec<SocketAddr> =
        adopted.iter().filter_map(|listener| listener.address().tcp()).collect();
    doing(check(&addresses, shard_count, applications), taking)?;
    if addresses.first().is_some_and(|first| *first != listen) {
        tracing::info!(%listen, "systemd passed the sockets; server.listen is not used");
    }
    Ok(Some(adopted))
}

/// The sockets that were passed to this process, if any were.
fn passed() -> Result<Option<Vec<TcpListener>>, ActivationError> {
    let variable = |name| std::env::var(name).unwrap_or_default();
    // The library would take sockets without a process id as its own.
    if variable("LISTEN_PID").is_empty() {
        return Ok(None);
    }
    let names = variable("LISTEN_FDNAMES");
    let mut descriptors = ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..descriptors.len() {
        let name = || match names.split(':').nth(index) {
            Some(name) if !name.is_empty() => name.to_owned(),
            _ => "unknown".to_owned(),
        };
        let kind = |problem| ActivationError::Kind { name: name(), problem };
        match descriptors.take_tcp_listener(index) {
            Ok(Some(socket)) if is_listening(&socket) => sockets.push(socket),
            Ok(_) => return Err(kind("it does not listen".to_owned())),
            Err(error) => return Err(kind(error.to_string())),
        }
    }
    Ok((!sockets.is_empty()).then_some(sockets))
}

fn is_listening(socket: &TcpListener) -> bool {
    socket2::SockRef::from(socket).is_listener().unwrap_or(false)
}

fn check(
    addresses: &[SocketAddr],
    shard_count: u16,
    applications: &Applications,
) -> Result<(), ActivationError> {
    if addresses.len() != usize::from(shard_count) {
        return Err(ActivationError::Count { passed: addresses.len(), shards: shard_count });
    }
    if let Some([one, other]) = addresses.array_windows().find(|[one, other]| one != other) {
        return Err(ActivationError::Addresses(*one, *other));
    }
    let mut open = applications.iter().filter(|(_, app)| app.enabled && app.open);
    if let (Some(address), Some((_, application))) = (addresses.first(), open.next())
        && !address.ip().is_loopback()
    {
        return Err(ActivationError::Exposed(*address, application.id.to_string()));
    }
    Ok(())
}
