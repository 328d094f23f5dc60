//! What is planned for the host: connections, shards, memory.

use super::host::Host;
use crate::config::Settings;
use crate::shard::options::{Driver, SocketOptions};

/// Private user memory of one idle subscribed connection in bytes. Measured: 290 (event stream) to
/// 440 (WebSocket), tuning/README.md.
pub(super) const USER_SIZE_EACH: u64 = 450;
/// Kernel memory of one accepted idle connection in bytes: socket, inode, file, epoll entry.
/// Measured by `fanwire capacity`; see tuning/README.md.
pub(super) const KERNEL_SIZE_EACH: u64 = 4500;
/// Pages of TCP buffers of a connection that has a message under way and one unread: each direction
/// is counted in whole pages. Measured by `fanwire capacity`.
pub(super) const TCP_PAGES_EACH: u64 = 2;
/// What the process takes before anyone comes, with its descriptor table.
const PROCESS_SIZE: u64 = 64 << 20;
/// Descriptors that are not connections: what `SocketOptions::connections_max_for` reserves.
const DESCRIPTORS_RESERVED: u64 = 64;
const DESCRIPTORS_RESERVED_PER_SHARD: u64 = 16;
/// Connections that are planned for where nobody says another number.
const CONNECTIONS_DEFAULT: u64 = 100_000;

/// What the host has to bear.
#[derive(Clone, Debug)]
pub(in crate::server) struct Demand {
    /// Connections of all shards together.
    pub(in crate::server) connections: u64,
    /// Shards that will run.
    pub(in crate::server) shard_count: u64,
    /// Whether each is pinned to a CPU.
    pub(super) is_pinned: bool,
    /// Whether a connection goes to the shard on whose CPU it comes in.
    pub(super) is_steered: bool,
    /// What the shards are to wait with.
    pub(super) driver: Driver,
    /// Sockets as they are set.
    pub(super) socket: SocketOptions,
    /// Bytes of messages that are kept in memory.
    history_size: u64,
}

impl Demand {
    /// What `settings` come to on `host`. Without a number of connections it is what
    /// `shards.connections_max` allows, else 100,000.
    pub(in crate::server) fn new(
        settings: &Settings,
        host: &Host,
        connections: Option<u64>,
    ) -> Demand {
        let cpu_count = host.cpus_allowed().map_or(1, |cpus| cpus.len());
        let shard_count = settings.server.shards_on(cpu_count) as u64;
        let socket = settings.shard.socket;
        let set = socket.connections_max.map(|each| each as u64 * shard_count);
        Demand {
            connections: connections.or(set).unwrap_or(CONNECTIONS_DEFAULT).max(1),
            shard_count,
            is_pinned: settings.server.pin,
            is_steered: settings.server.steer_by_cpu,
            driver: settings.shard.driver,
            socket,
            history_size: settings.shard.history.memory_max as u64,
        }
    }

    /// Descriptors that the process needs.
    pub(super) fn descriptors(&self) -> u64 {
        self.connections + self.descriptors_reserved()
    }

    /// Those of them that are not connections.
    pub(in crate::server) fn descriptors_reserved(&self) -> u64 {
        DESCRIPTORS_RESERVED + DESCRIPTORS_RESERVED_PER_SHARD * self.shard_count
    }

    /// The descriptor limit to ask for: with room, and a number that people recognise.
    pub(super) fn descriptor_limit(&self) -> u64 {
        (self.descriptors() + self.descriptors() / 4).next_power_of_two().max(65_536)
    }

    /// Accept queue that holds an eighth of the connections coming back at once.
    pub(super) fn backlog(&self) -> u64 {
        (self.connections / 8).next_power_of_two().clamp(1024, 65_536)
    }

    /// Pages of TCP buffers while every connection has a message under way and one unread.
    pub(super) fn tcp_pages(&self) -> u64 {
        self.connections * TCP_PAGES_EACH
    }

    /// Bytes of memory: the process, its history, and each connection with a page under way. Queues
    /// of slow readers come on top.
    pub(in crate::server) fn memory_size(&self, page_size: u64) -> u64 {
        let each = USER_SIZE_EACH + KERNEL_SIZE_EACH + page_size;
        self.fixed_size() + self.connections * each
    }

    /// Bytes of it that do not depend on connections.
    pub(in crate::server) fn fixed_size(&self) -> u64 {
        PROCESS_SIZE + self.history_size
    }
}
