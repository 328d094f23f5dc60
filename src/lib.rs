//! Fanwire: a realtime message broker, one shard per CPU.
//!
//! Layers, from the bottom; an arrow of use runs downward only (`tests/tidy.rs` enforces it):
//! `stdx` → `model` → `proto`, `auth`, `broker`, `telemetry`, `mesh` (which never name each other)
//! → `shard`; `integrations` and `store` beside it → `config` → `server`. ARCHITECTURE.md tells the whole story.

pub mod auth;
pub mod broker;
pub mod config;
pub mod integrations;
pub mod mesh;
pub mod model;
pub mod proto;
pub mod server;
pub mod shard;
pub mod stdx;
pub mod store;
pub mod telemetry;
