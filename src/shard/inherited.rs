//! TCP options that a listener hands down: set once, every socket accepted from it has them.

use std::io::{Error, Result};

use socket2::Socket;

use super::options::SocketOptions;

impl SocketOptions {
    /// Sets them on a listener.
    ///
    /// # Errors
    /// When the kernel refuses one: `SO_BUSY_POLL` needs `CAP_NET_ADMIN`.
    pub(super) fn hand_down(&self, listener: &Socket) -> Result<()> {
        if let Some(size) = self.notsent_lowat {
            listener.set_tcp_notsent_lowat(size)?;
        }
        if let Some(span) = self.user_timeout {
            listener.set_tcp_user_timeout(Some(span))?;
        }
        if let Some(span) = self.busy_poll {
            let span_us = u32::try_from(span.as_micros()).unwrap_or(u32::MAX);
            listener.set_busy_poll(span_us).map_err(|error| {
                let text = format!(
                    "shards.socket.busy_poll: {error}; it needs CAP_NET_ADMIN, or net.core.busy_read \
                     at least as high"
                );
                Error::new(error.kind(), text)
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpStream};
    use std::time::Duration;

    use super::*;
    use crate::shard::Listener;

    const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn accepted_sockets_have_what_their_listener_was_told() {
        let options = SocketOptions {
            notsent_lowat: Some(16_384),
            user_timeout: Some(Duration::from_millis(31_500)),
            ..SocketOptions::default()
        };
        let listener = Listener::bind(ANY_PORT, 8, &options).unwrap();
        let _client = TcpStream::connect(listener.address().tcp().unwrap()).unwrap();
        let socket = accepted(&listener);
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), 16_384);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_millis(31_500)));
    }

    #[test]
    fn busy_polling_is_had_or_its_refusal_names_the_key() {
        let busy_poll = Some(Duration::from_micros(50));
        let options = SocketOptions { busy_poll, ..SocketOptions::default() };
        match Listener::bind(ANY_PORT, 8, &options) {
            Ok(listener) => {
                let _client = TcpStream::connect(listener.address().tcp().unwrap()).unwrap();
                assert_eq!(accepted(&listener).busy_poll().unwrap(), 50);
            }
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
                assert!(error.to_string().starts_with("shards.socket.busy_poll: "), "{error}");
            }
        }
    }

    #[test]
    fn nothing_is_set_unless_it_is_told() {
        let listener = Listener::bind(ANY_PORT, 8, &SocketOptions::default()).unwrap();
        let _client = TcpStream::connect(listener.address().tcp().unwrap()).unwrap();
        assert_eq!(accepted(&listener).tcp_user_timeout().unwrap(), None);
    }

    fn accepted(listener: &Listener) -> Socket {
        use super::super::listener::Accepted;
        let Accepted::Connection(fd, _) = listener.accept() else { panic!("a client waits") };
        Socket::from(fd)
    }
}
