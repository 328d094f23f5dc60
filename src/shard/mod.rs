//! One thread per CPU with its sockets and state: the only user of monoio and of the send ring.

pub mod options;

pub use options::Options;
