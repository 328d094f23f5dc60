//! Binds every listener for every shard, before any shard runs; that of `server.listen` may come from
//! systemd instead.

use std::net::SocketAddr;
use std::sync::Arc;

use super::activation;
use super::launch::{LaunchError, doing};
use super::plan::Plan;
use crate::config::{ListenerOptions, Settings};
use crate::model::application::Applications;
use crate::model::code::StartFailure;
use crate::model::proxies::TrustedProxies;
use crate::shard::options::SocketOptions;
use crate::shard::{ListenAddress, Listener, Listeners, Seam, steer_by_cpu};

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
    /// An address that other machines reach, where there is one.
    pub(super) exposed: Option<SocketAddr>,
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

    /// Binds each for so many shards as are planned.
    ///
    /// # Errors
    /// When an address is taken, not this machine's, or not allowed; when what systemd passed does not
    /// fit; when the kernel does not steer as it is asked to.
    pub(super) fn bind(
        &self,
        plan: &Plan,
        backlog: u32,
        socket: &SocketOptions,
        applications: &Applications,
    ) -> Result<Bound, LaunchError> {
        let count = plan.shard_count;
        let mut shards: Vec<Vec<Listener>> = (0..count).map(|_| Vec::new()).collect();
        let (mut urls, mut exposed) = (Vec::new(), None);
        for (index, options) in self.all.iter().enumerate() {
            let passed = match options.address {
                ListenAddress::Tcp(listen) if index == 0 => {
                    activation::listeners(listen, count, backlog, socket, applications)?
                }
                _ => None,
            };
            let bound = match passed {
                Some(passed) => Ok(passed),
                None => bind_one(options, count, backlog, socket),
            };
            let bound = doing(bound, || format!("listening on {}", options.address))
                .map_err(|error| error.of(StartFailure::Address))?;
            if let Some(first) = bound.first() {
                urls.push(url(first, &options.seam));
                let reached = first.address().tcp().filter(|address| !address.ip().is_loopback());
                exposed = exposed.or(reached);
                steer(plan, first)?;
            }
            for (listener, listeners) in bound.into_iter().zip(&mut shards) {
                listeners.push(listener.with_seam(options.seam.clone()));
            }
        }
        let proxies = || Arc::clone(&self.proxies);
        let shards = shards.into_iter().map(|all| Listeners::new(all, proxies())).collect();
        Ok(Bound { shards, urls, exposed })
    }
}

/// Has the kernel choose shards by CPU, where that is asked for: on all sockets of the address, which
/// began to listen in the shards' order.
fn steer(plan: &Plan, first: &Listener) -> Result<(), LaunchError> {
    match (plan.steered_cpus(), first.address()) {
        (Some(cpus), ListenAddress::Tcp(_)) => {
            doing(steer_by_cpu(first, &cpus), || "shards.steer_by_cpu".into())
        }
        _ => Ok(()),
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
