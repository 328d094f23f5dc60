//! What a peer did wrong after the handshake, and the close that says so (RFC 6455 §7.4.1).

use crate::model::close::{self, Close};

/// One broken rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    ReservedBits,
    ReservedOpcode,
    Unmasked,
    LengthNotMinimal,
    LengthTopBit,
    ControlFragmented,
    ControlTooLong,
    NothingToContinue,
    MessageInterrupted,
    CloseTooShort,
    CloseCode(u16),
    CloseReason,
    Text,
    Deflate,
    /// At least this many bytes announced, against the limit.
    TooBig {
        size: u64,
        size_max: usize,
    },
    /// Inflates past the limit.
    InflatesTooBig {
        size_max: usize,
    },
    EmptyFragments,
}

impl Fault {
    /// The code and reason to send.
    pub(super) fn close(self) -> Close {
        match self {
            Fault::TooBig { size, size_max } => Close {
                code: close::TOO_BIG,
                reason: format!("message of {size} bytes is over the limit of {size_max}").into(),
            },
            Fault::InflatesTooBig { size_max } => Close {
                code: close::TOO_BIG,
                reason: format!("message inflates to over the limit of {size_max} bytes").into(),
            },
            Fault::CloseCode(code) => Close {
                code: close::PROTOCOL_ERROR,
                reason: format!("close code {code} is not for the wire").into(),
            },
            fixed => Close::new(fixed.code(), fixed.text()),
        }
    }

    const fn code(self) -> u16 {
        match self {
            Fault::CloseReason | Fault::Text | Fault::Deflate => close::BAD_DATA,
            Fault::TooBig { .. } | Fault::InflatesTooBig { .. } => close::TOO_BIG,
            Fault::EmptyFragments => close::POLICY,
            _ => close::PROTOCOL_ERROR,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Fault::ReservedBits => "reserved bits are set",
            Fault::ReservedOpcode => "reserved opcode",
            Fault::Unmasked => "client frames must be masked",
            Fault::LengthNotMinimal => "length is not in its shortest form",
            Fault::LengthTopBit => "length has its top bit set",
            Fault::ControlFragmented => "control frame is fragmented",
            Fault::ControlTooLong => "control frame is over 125 bytes",
            Fault::NothingToContinue => "continuation without a message",
            Fault::MessageInterrupted => "new message inside a fragmented one",
            Fault::CloseTooShort => "close frame of 1 byte",
            Fault::CloseCode(_) => "close code is not for the wire",
            Fault::CloseReason => "close reason is not UTF-8",
            Fault::Text => "text is not UTF-8",
            Fault::Deflate => "compressed message does not inflate",
            Fault::TooBig { .. } | Fault::InflatesTooBig { .. } => "message is over the limit",
            Fault::EmptyFragments => "too many empty fragments",
        }
    }
}
