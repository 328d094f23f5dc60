//! What a request may take, and the errors that name the limit.

use crate::model::refusal::{Refusal, Refused};

/// Largest head that the 16-bit index can describe.
const HEAD_SIZE_CEILING: usize = u16::MAX as usize;

/// A size in bytes, and the configuration key that sets it, for the error that names both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SizeLimit {
    /// Most bytes.
    pub size_max: usize,
    /// Where an operator sets it.
    pub key: &'static str,
}

impl SizeLimit {
    /// Checks a body's size.
    ///
    /// # Errors
    /// It is over the limit; the detail names both numbers and the key.
    pub(super) fn check(&self, size: u64) -> Result<(), Refused> {
        if size <= self.size_max as u64 {
            return Ok(());
        }
        let SizeLimit { size_max, key } = self;
        Err(Refused::new(
            Refusal::BodyTooLarge,
            format!("the body has {size} bytes or more; at most {size_max} are taken ({key})"),
        ))
    }
}

/// What a request may take before its body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The request target. 8 KiB is usual.
    pub target: SizeLimit,
    /// Request line and header section together. 16 KiB is usual; 65,535 bytes is the most.
    pub head: SizeLimit,
}

impl Limits {
    pub(super) fn head_size_max(&self) -> usize {
        self.head.size_max.min(HEAD_SIZE_CEILING)
    }
}
