//! JSON without building a tree (RFC 8259): a text is validated once, whole, by simd-json, and its
//! parts are then named by their exact bytes in the original.
//!
//! `scanner` validates, `error` says why not, `value` walks what was validated, `string` reads and
//! writes string literals.
//!
//! Invariant: the bytes of a value reach a subscriber as they were published; no number is
//! reformatted and no key reordered, since no value is ever built.

mod error;
mod scanner;
mod string;
mod value;

pub use error::JsonError;
pub use scanner::{Document, Scanner};
pub use string::{characters, escape_into};
pub use value::{Elements, FieldError, Kind, Members, Value};
