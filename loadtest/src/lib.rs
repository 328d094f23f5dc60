//! `fanwire-loadtest`: tens of thousands of subscribers, an open-loop publisher, and a checker that
//! must be satisfied before any figure counts.
//!
//! It judges the broker from outside: it shares no code with it and knows only its doors.
//!
//! # A run
//! ```text
//! parent ── settings, commands (JSON lines over pipes) ──► worker 0 … N (processes)
//!   │  ◄── once a second: histograms; at the end: a verdict ──┘   each one thread, one epoll set
//!   ├─ the same pipes ──► crowd 0 … N (processes; `storm` and `recover`), which come and go
//!   ├─ publisher (thread): schedule → keep-alive HTTP connections → ledger of outcomes
//!   └─ sampler: /proc of the server and of the machine, once a second
//! ```
//! 1. Workers connect their share of the subscribers at a given rate ([`worker`], [`subscriber`]).
//! 2. The publisher sends messages at times fixed in advance ([`publisher`]). Each carries its run,
//!    topic, sequence number, intended and actual send time, and a check word ([`marker`]).
//! 3. Every delivery is recognised down to its envelope ([`wire::envelope`]), placed in its
//!    subscription's sequence ([`track`]) and timed ([`latency`]).
//! 4. When deliveries have come to rest, each subscription is judged against the publisher's ledger
//!    of accepted, refused and unanswered publishes ([`ledger`], [`verdict`]).
//! 5. The report ([`report`]) goes to the terminal, to JSON, and to one HTML page ([`html`]).
//!
//! # What makes a run fail
//! A gap, a missing message, a duplicate, a reorder, a changed payload or envelope, a message that
//! was not subscribed to or never sent, one whose publish was refused, and a subscriber that was
//! disconnected though it read promptly. The exit status is then 1. It is 2 when the run could not
//! be done.
//!
//! A `publish` run has no subscribers: it fails when a publish is refused or not answered.
//!
//! # What is not judged
//! A publish without an answer may reach each subscriber once or not at all. After a cut that this
//! tool makes itself (`cut`), messages sent between the cut and the next confirmed subscription
//! are owed to nobody. Subscribers that stop reading (`slow`) may lose messages or be closed, but
//! may not get doubled, reordered or changed ones.
//!
//! # Units
//! Rates of publishing are accepted publishes per second. Rates of delivery are delivered frames
//! per second: one message to 10,000 subscribers is 10,000 frames. Times between processes are
//! `CLOCK_MONOTONIC` of one machine, so server and generator may stand on different machines, but
//! all of the generator stands on one.

pub mod assemble;
mod beat;
pub mod chart;
mod check;
pub mod child;
pub mod cli;
pub mod compare;
pub mod connect;
pub mod context;
pub mod control;
mod crowd;
pub mod fleet;
pub mod html;
pub mod inbox;
mod judge;
pub mod latency;
pub mod ledger;
mod link;
pub mod live;
pub mod marker;
pub mod memory;
pub mod paths;
pub mod publish_connection;
pub mod publisher;
pub mod recover;
pub mod report;
mod returner;
pub mod run;
pub mod sample;
pub mod scenario;
pub mod settings;
pub mod shared;
pub mod storm;
pub mod subscriber;
pub mod summary;
pub mod sys;
pub mod token;
pub mod track;
pub mod verdict;
pub mod wire;
pub mod worker;
