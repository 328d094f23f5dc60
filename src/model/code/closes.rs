//! What is told of each way in which a connection ends.

use crate::model::close::CloseCause;

impl CloseCause {
    /// Number, 101–199.
    pub const fn number(self) -> u16 {
        101 + self as u16
    }

    /// What happened.
    pub const fn sentence(self) -> &'static str {
        match self {
            CloseCause::Peer => "The peer closed the connection.",
            CloseCause::Socket => "The connection broke: a reset or a broken pipe.",
            CloseCause::Protocol => "The peer broke HTTP or the WebSocket protocol.",
            CloseCause::Policy => "The peer did what it may not do.",
            CloseCause::TooBig => "A message, header or body was over its limit.",
            CloseCause::SlowConsumer => "The peer read too slowly: its queue met the limit.",
            CloseCause::Idle => "Nothing was heard of the peer for the idle time.",
            CloseCause::Timeout => "A handshake, request or close did not finish in time.",
            CloseCause::Done => "The request was served, and its connection was to end with it.",
            CloseCause::Stopping => "The broker stopped.",
            CloseCause::Internal => "The broker failed while it handled this connection.",
            CloseCause::Overloaded => "A publish over this WebSocket found no room.",
            CloseCause::SameSubject => "Another connection of the same subject took its place.",
            CloseCause::Administered => "An administrator closed the connection.",
            CloseCause::Expired => "The connection's token has expired.",
            CloseCause::Revoked => "The connection's token was revoked.",
            CloseCause::RateLimited => "The peer sent more than its rate allows.",
        }
    }

    /// What to do.
    pub const fn advice(self) -> &'static str {
        match self {
            CloseCause::Peer => "Nothing: clients come and go.",
            CloseCause::Socket => {
                "One is a network that changed; many at once point at a proxy's timeout or restart."
            }
            CloseCause::Protocol => {
                "The close frame or the 400 says what was wrong; a proxy that alters frames is the \
                 usual cause, an outdated client the next."
            }
            CloseCause::Policy => {
                "The close frame's reason names the command and topic; `fanwire explain` says why a \
                 token does not allow it."
            }
            CloseCause::TooBig => {
                "Publish less at once, or raise the limit that the reason names \
                 (websocket.message_size_max, applications.limits)."
            }
            CloseCause::SlowConsumer => {
                "Raise applications.limits.outbound_size_max, or choose another slow_consumer for \
                 the topic's family, with which the connection stays and catches up."
            }
            CloseCause::Idle => {
                "The client must answer pings; behind a proxy, keep its read timeout above \
                 websocket.ping_interval."
            }
            CloseCause::Timeout => {
                "Many of one address are a slow-loris or a broken balancer check; see \
                 http.head_timeout and http.body_timeout."
            }
            CloseCause::Done => "Nothing: clients that keep their connection are served faster.",
            CloseCause::Stopping => {
                "Clients come back by themselves, each at the time it was told; positions and \
                 tickets bring them what they missed."
            }
            CloseCause::Internal => {
                "This is a bug: report it with the log's lines around it. Others are not affected."
            }
            CloseCause::Overloaded => {
                "Publish again after a second. When it lasts, look at the mesh metrics and at the \
                 shards' turn durations."
            }
            CloseCause::SameSubject => {
                "That is the application's same_subject rule; set it to \"allow\" for several \
                 devices of one user."
            }
            CloseCause::Administered => "Ask who called the administration routes of this time.",
            CloseCause::Expired => {
                "The client should renew its token in place before it expires (`authenticate`)."
            }
            CloseCause::Revoked => "The client needs a new token; its backend decides about that.",
            CloseCause::RateLimited => {
                "Send more slowly, or raise the rates in applications.limits."
            }
        }
    }
}
