//! Why a connection was closed: the code on the wire and the reason counted.

use std::borrow::Cow;

/// A WebSocket close code with its reason text (RFC 6455 §7.4; at most 123 bytes of UTF-8).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Close {
    /// 1000–1015 or 3000–4999.
    pub code: u16,
    /// UTF-8, at most 123 bytes.
    pub reason: Cow<'static, str>,
}

impl Close {
    /// A close with a fixed reason.
    pub const fn new(code: u16, reason: &'static str) -> Close {
        Close { code, reason: Cow::Borrowed(reason) }
    }
}

/// Normal closure.
pub const NORMAL: u16 = 1000;
/// The server goes away (stop, deploy).
pub const GOING_AWAY: u16 = 1001;
/// The peer broke the protocol.
pub const PROTOCOL_ERROR: u16 = 1002;
/// A text message that is not UTF-8, or a compressed one that does not inflate.
pub const BAD_DATA: u16 = 1007;
/// The peer did what the application does not allow.
pub const POLICY: u16 = 1008;
/// A message over the limit.
pub const TOO_BIG: u16 = 1009;
/// A bug of ours.
pub const INTERNAL: u16 = 1011;
/// Overload or a slow consumer: come again later.
pub const TRY_AGAIN_LATER: u16 = 1013;

/// The token has expired or was revoked (3000, "Unauthorized", of the WebSocket close code registry).
pub const UNAUTHORIZED: u16 = 3000;

/// What ended a connection; the label of the close counter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum CloseCause {
    /// The peer closed, cleanly or not.
    Peer,
    /// The socket failed (reset, broken pipe).
    Socket,
    /// The peer broke HTTP or WebSocket.
    Protocol,
    /// The peer did what is not allowed.
    Policy,
    /// A message, header or body over its limit.
    TooBig,
    /// Its outbound queue met the limit.
    SlowConsumer,
    /// Nothing heard for the idle time.
    Idle,
    /// Handshake, request or close did not finish in time.
    Timeout,
    /// Served as asked: `Connection: close`, HTTP/1.0, end of the response.
    Done,
    /// The broker stops.
    Stopping,
    /// A caught panic.
    Internal,
    /// A publish over a WebSocket found no room in the mesh.
    Overloaded,
    /// A newer connection of the same subject took its place, or an older one kept it out.
    SameSubject,
    /// An administrator closed it.
    Administered,
    /// Its token expired.
    Expired,
    /// Its token or its subject's tokens were revoked.
    Revoked,
    /// It sent more than its rate.
    RateLimited,
}

impl CloseCause {
    /// All causes, in the order of their discriminants.
    pub const ALL: [CloseCause; 17] = [
        CloseCause::Peer,
        CloseCause::Socket,
        CloseCause::Protocol,
        CloseCause::Policy,
        CloseCause::TooBig,
        CloseCause::SlowConsumer,
        CloseCause::Idle,
        CloseCause::Timeout,
        CloseCause::Done,
        CloseCause::Stopping,
        CloseCause::Internal,
        CloseCause::Overloaded,
        CloseCause::SameSubject,
        CloseCause::Administered,
        CloseCause::Expired,
        CloseCause::Revoked,
        CloseCause::RateLimited,
    ];

    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            CloseCause::Peer => "peer",
            CloseCause::Socket => "socket",
            CloseCause::Protocol => "protocol",
            CloseCause::Policy => "policy",
            CloseCause::TooBig => "too_big",
            CloseCause::SlowConsumer => "slow_consumer",
            CloseCause::Idle => "idle",
            CloseCause::Timeout => "timeout",
            CloseCause::Done => "done",
            CloseCause::Stopping => "stopping",
            CloseCause::Internal => "internal",
            CloseCause::Overloaded => "overloaded",
            CloseCause::SameSubject => "same_subject",
            CloseCause::Administered => "administered",
            CloseCause::Expired => "expired",
            CloseCause::Revoked => "revoked",
            CloseCause::RateLimited => "rate_limited",
        }
    }

    /// The cause that a close code sent by us stands for.
    pub const fn of_code(code: u16) -> CloseCause {
        match code {
            PROTOCOL_ERROR | BAD_DATA => CloseCause::Protocol,
            POLICY => CloseCause::Policy,
            TOO_BIG => CloseCause::TooBig,
            GOING_AWAY => CloseCause::Stopping,
            TRY_AGAIN_LATER => CloseCause::SlowConsumer,
            INTERNAL => CloseCause::Internal,
            _ => CloseCause::Peer,
        }
    }
}
