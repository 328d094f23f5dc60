//! Sockets that connect without waiting, from a chosen source address.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::settings::Settings;
use crate::sys;

/// Receive buffer of a subscriber that will stop reading: small, so that the server feels it soon.
const SLOW_RECEIVE_SIZE: usize = 4096;

/// Begins a connect for `subscriber`; epoll reports it writable when it has ended.
///
/// # Errors
/// When descriptors or ports are exhausted, or the address cannot be used.
pub fn open(settings: &Settings, subscriber: u32, is_slow: bool) -> io::Result<Socket> {
    let source = match settings.sources.len() {
        0 => None,
        count => Some(settings.sources[subscriber as usize % count]),
    };
    let socket =
        Socket::new(Domain::for_address(settings.target), Type::STREAM, Some(Protocol::TCP))
            .map_err(|error| explain(error, "a socket"))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if is_slow {
        socket.set_recv_buffer_size(SLOW_RECEIVE_SIZE)?;
    }
    if let Some(source) = source {
        // The port is then chosen at connect, so each pair of addresses has its own port range.
        sys::defer_port_choice(&socket)?;
        socket
            .bind(&SockAddr::from(SocketAddr::new(source, 0)))
            .map_err(|error| explain(error, &format!("source address {source}")))?;
    }
    match socket.connect(&SockAddr::from(settings.target)) {
        Ok(()) => Ok(socket),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(socket),
        Err(error) => Err(explain(error, "a local port")),
    }
}

/// Tells whether an ended connect succeeded.
///
/// # Errors
/// The error with which it ended.
pub fn finish(socket: &Socket) -> io::Result<()> {
    socket.take_error()?.map_or(Ok(()), Err)
}

/// Connects once, plainly, to see whether a server is there at all.
///
/// # Errors
/// Why it is not, in words for the operator.
pub fn probe(target: SocketAddr) -> Result<(), String> {
    TcpStream::connect_timeout(&target, Duration::from_secs(3))
        .map(drop)
        .map_err(|error| format!("no server at {target}: {error}. Start it, or point --url at it."))
}

fn explain(error: io::Error, what: &str) -> io::Error {
    let advice = match error.raw_os_error() {
        Some(libc::EMFILE) => "this process's descriptor limit is reached; use --processes",
        Some(libc::EADDRNOTAVAIL) => {
            "no local address or port is left; use --source-addresses with more of them"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), format!("cannot open {what}: {error}: {advice}"))
}
