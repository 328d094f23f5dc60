//! Every number that the broker gives a refusal, a close or a failed start: one table for
//! `fanwire help`, the documentation and the log.
//!
//! Refusals have 1–99 (`model/refusal`), closes 101–199, failed starts 201–299. Numbers and names are
//! stable; a name may stand in two kinds, since a refusal may also end its connection.

mod advice;
mod closes;
mod start;
mod table;

pub use start::StartFailure;
pub use table::{Code, CodeKind, all, find};
