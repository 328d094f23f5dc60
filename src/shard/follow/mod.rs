//! Following live what happens: messages of topics, one user's sessions, the load by topic.
//!
//! Who follows is a stream at the admin door. `board` holds the followers for all shards; each shard
//! looks at its version once per turn and keeps a copy (`local`), so that nothing else asks more than
//! whether somebody follows at all. What happens goes as text into the follower's bounded queue
//! (`tap` writes it), from whichever shard sees it, and `stream` gives it out at the admin door's shard.
//!
//! Invariants: a full queue drops and counts, and the follower is told how much; nobody who delivers
//! ever waits for who follows; a payload goes only to those who asked for payloads.

mod board;
mod load;
mod local;
mod stream;
mod tap;

pub use board::FollowBoard;
pub(super) use board::What;
pub(super) use local::Following;
pub(super) use stream::FollowStream;
