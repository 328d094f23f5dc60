//! Why the process could not start.

/// A kind of failed start; the log says what exactly failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartFailure {
    /// The settings are wrong or cannot be read.
    Configuration,
    /// `server.listen` cannot be had.
    Address,
    /// `admin.listen` cannot be had.
    AdminAddress,
    /// The store's file cannot be opened.
    Store,
    /// A shard cannot run.
    Shard,
    /// The system gives no threads, descriptors or signal handlers.
    Resources,
}

impl StartFailure {
    /// All of them, by number.
    pub const ALL: [StartFailure; 6] = [
        StartFailure::Configuration,
        StartFailure::Address,
        StartFailure::AdminAddress,
        StartFailure::Store,
        StartFailure::Shard,
        StartFailure::Resources,
    ];

    /// Number, 201–299.
    pub const fn number(self) -> u16 {
        201 + self as u16
    }

    /// Name.
    pub const fn name(self) -> &'static str {
        match self {
            StartFailure::Configuration => "configuration",
            StartFailure::Address => "address",
            StartFailure::AdminAddress => "admin_address",
            StartFailure::Store => "store_open",
            StartFailure::Shard => "shard_start",
            StartFailure::Resources => "resources",
        }
    }

    /// What happened.
    pub const fn sentence(self) -> &'static str {
        match self {
            StartFailure::Configuration => "The configuration is wrong or cannot be read.",
            StartFailure::Address => "The address of server.listen cannot be had.",
            StartFailure::AdminAddress => "The address of admin.listen cannot be had.",
            StartFailure::Store => "The store's file cannot be opened.",
            StartFailure::Shard => "A shard cannot run with this driver on this system.",
            StartFailure::Resources => "The system gives no more threads, descriptors or memory.",
        }
    }

    /// What to do.
    pub const fn advice(self) -> &'static str {
        match self {
            StartFailure::Configuration => {
                "Run `fanwire config check` with the same file and environment: it tells every \
                 problem with its line or variable."
            }
            StartFailure::Address => {
                "Another process may listen there (`ss -ltnp`), the address may not be this \
                 machine's, or a port below 1024 needs CAP_NET_BIND_SERVICE."
            }
            StartFailure::AdminAddress => {
                "Another broker of this machine may have it: set admin.listen to another port, or \
                 to \"off\"."
            }
            StartFailure::Store => {
                "The folder of store.path must exist and be writable to the broker's user alone; \
                 one broker may have the file open. The log names what failed."
            }
            StartFailure::Shard => {
                "Where io_uring is forbidden (kernel.io_uring_disabled, a container's filter) set \
                 shards.driver = \"auto\" or \"epoll\"."
            }
            StartFailure::Resources => {
                "Raise LimitNOFILE, TasksMax or the memory limit of the service, or run fewer \
                 shards (shards.count)."
            }
        }
    }
}
