//! Binds every listener for every shard, before any shard runs.

use std::net::SocketAddr;
use std::sync::Arc;

use super::launch::{LaunchError, doing};
use crate::config::{ListenerOptions, Settings};
use crate::model::proxies::TrustedProxies;
use crate::shard::options::SocketOptions;
use crate::shard::{ListenAddress, Listener, Listeners, Seam};

/// Where to listen.
#[derive(Debug)]
pub(super) struct Listening {
    /// The listener of `server.listen` first.
    all: Vec<ListenerOptions>,
    proxies: Arc<TrustedProxies>,
}

/// Listeners that are bound.
#[derive(Debug)]
pub(super) struct Bound {
    /// One for each shard, in the shards' order.
    pub(super) shards: Vec<Listeners>,
    /// How clients reach them, that of `server.listen` first.
    pub(super) urls: Vec<String>,
}

impl Listening {
    pub(super) fn new(settings: &Settings) -> Listening {
        let first = ListenerOptions {
            address: ListenAddress::Tcp(settings.server.listen),
            mode: 0,
            seam: Seam::default(),
        };
        let all = [first].into_iter().chain(settings.listeners.iter().cloned()).collect();
        Listening { all, proxies: Arc::new(settings.proxies.clone()) }
    }

    /// Binds each for so many shards.
    ///
    /// # Errors
    /// When an address is taken, not this machine's, or not allowed.
    pub(super) fn bind(
        &self,
        shard_count: u16,
        backlog: u32,
        socket: &SocketOptions,
    ) -> Result<Bound, LaunchError> {
        let mut shards: Vec<Vec<Listener>> = (0..shard_count).map(|_| Vec::new()).collect();
        let mut urls = Vec::new();
        for options in &self.all {
            let bound = bind_one(options, shard_count, backlog, socket);
            let bound = doing(bound, || format!("listening on {}", options.address))?;
            urls.extend(bound.first().map(|listener| url(listener, &options.seam)));
            for (listener, listeners) in bound.into_iter().zip(&mut shards) {
                listeners.push(listener.with_seam(options.seam.clone()));
            }
        }
        let proxies = || Arc::clone(&self.proxies);
        let shards = shards.into_iter().map(|all| Listeners::new(all, proxies())).collect();
        Ok(Bound { shards, urls })
    }
}

/// One listener's sockets, one for each shard.
fn bind_one(
    options: &ListenerOptions,
    shard_count: u16,
    backlog: u32,
    socket: &SocketOptions,
) -> std::io::Result<Vec<Listener>> {
    match &options.address {
        ListenAddress::Tcp(address) => bind_tcp(*address, shard_count, backlog, socket),
        ListenAddress::Unix(path) => {
            let first = Listener::bind_unix(path, options.mode, backlog)?;
            let others = (1..shard_count).map(|_| first.share());
            let others: std::io::Result<Vec<_>> = others.collect();
            Ok([first].into_iter().chain(others?).collect())
        }
    }
}

fn bind_tcp(
    mut address: SocketAddr,
    shard_count: u16,
    backlog: u32,
    socket: &SocketOptions,
) -> std::io::Result<Vec<Listener>> {
    Listener::claim(address)?;
    let bind = |_| {
        let listener = Listener::bind(address, backlog, socket)?;
        if let ListenAddress::Tcp(bound) = listener.address() {
            // Where the kernel has chosen the port, the other shards take the same.
            address = *bound;
        }
        Ok(listener)
    };
    (0..shard_count).map(bind).collect()
}

/// How clients reach a listener, as far as one line can say it.
fn url(listener: &Listener, seam: &Seam) -> String {
    let scheme = if seam.tls.is_some() { "https" } else { "http" };
    match listener.address() {
        ListenAddress::Tcp(address) => format!("{scheme}://{address}"),
        ListenAddress::Unix(path) => format!("{scheme}+unix://{}", path.display()),
    }
}
