//! What the dialects read of an object, said once more by means of `serde_json`.

use crate::objects::Pairs;

/// The members called `names`, as raw texts; `None` for what is no object, or one with such a
/// member twice.
pub(crate) fn fields<'a, const N: usize>(
    raw: &'a str,
    names: [&str; N],
) -> Option<[Option<&'a str>; N]> {
    let Pairs(pairs) = serde_json::from_str(raw).ok()?;
    let mut found = [None; N];
    for (slot, name) in found.iter_mut().zip(names) {
        let mut named = pairs.iter().filter(|(key, _)| key == name);
        *slot = named.next().map(|(_, value)| value.get());
        if named.next().is_some() {
            return None;
        }
    }
    Some(found)
}

/// A string's characters.
pub(crate) fn string(raw: &str) -> Option<String> {
    serde_json::from_str(raw).ok()
}
