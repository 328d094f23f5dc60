//! What must hold of a shard's deflate and inflate streams for any bytes: what we compress comes
//! back, at every window; what a peer compressed never grows past the limit; no stream is marked by
//! the one before it.

use std::cell::RefCell;

use fanwire::proto::ws::{Deflater, Inflater};

const SIZE_MAX: usize = 10_000;

thread_local! {
    static STREAMS: RefCell<(Deflater, Inflater)> = RefCell::default();
}

/// Panics where one of them does not.
pub(crate) fn check(data: &[u8]) {
    let [choice, rest @ ..] = data else { return };
    STREAMS.with_borrow_mut(|(deflater, inflater)| {
        // As a peer's stream: the shard's used one and a fresh one agree.
        let size_max = SIZE_MAX >> (choice & 7);
        let used = inflater.inflate(rest, size_max).map(<[u8]>::to_vec);
        assert_eq!(used.as_deref(), Inflater::new().inflate(rest, size_max).as_ref().map(|b| &**b));
        assert!(used.is_err() || used.is_ok_and(|bytes| bytes.len() <= size_max));

        // As our own payload.
        let window = 9 + choice % 7;
        let mut deflated = Vec::new();
        deflater.compress(window, rest, &mut deflated);
        assert_eq!(inflater.inflate(&deflated, rest.len()), Ok(rest));
        if !rest.is_empty() {
            assert!(inflater.inflate(&deflated, rest.len() - 1).is_err());
        }
    });
}
