//! API keys: finds the presented one among an application's, in a time that tells nothing.
//!
//! Every key is compared, byte by byte, whether or not one before has matched. Only the lengths of
//! the keys, not their bytes, influence the time.

use std::sync::Arc;

use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};

use crate::model::application::ApiKey;
use crate::model::identity::Identity;

/// The holder of the key that equals `presented`; of the first, should two be equal.
pub(super) fn find<'a>(keys: &'a [ApiKey], presented: &str) -> Option<&'a Arc<Identity>> {
    let mut found = NONE;
    for (index, key) in keys.iter().enumerate().rev() {
        let equal = key.secret.as_bytes().ct_eq(presented.as_bytes());
        found.conditional_assign(&(index as u64), equal);
    }
    usize::try_from(found).ok().and_then(|index| keys.get(index)).map(|key| &key.identity)
}

/// An index that no key has.
const NONE: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::rights::Rights;

    fn holder(name: &str) -> Arc<Identity> {
        let rights = Rights { presented: Arc::from([name.to_owned()]), ..Rights::every_topic() };
        Arc::new(Identity::without_token(rights))
    }

    fn keys(secrets: &[&str]) -> Vec<ApiKey> {
        let key = |secret: &&str| ApiKey {
            secret: Box::from(*secret),
            identity: holder(&format!("of {secret}")),
        };
        secrets.iter().map(key).collect()
    }

    fn name(identity: &Identity) -> &str {
        identity.rights.presented.first().map_or("", |name| name)
    }

    #[test]
    fn only_an_equal_key_is_found_wherever_it_stands() {
        let keys = keys(&["first-key", "second-key", "third-key"]);
        for secret in ["first-key", "second-key", "third-key"] {
            assert_eq!(name(find(&keys, secret).unwrap()), format!("of {secret}"));
        }
        for wrong in ["", "first-ke", "first-key ", "first-keY", "second", "\u{0}irst-key"] {
            assert!(find(&keys, wrong).is_none(), "{wrong:?}");
        }
        assert!(find(&[], "first-key").is_none());
        assert!(find(&[], "").is_none());
    }

    #[test]
    fn of_two_equal_keys_the_first_counts() {
        let mut keys = keys(&["same", "same"]);
        keys[0].identity = holder("the first");
        assert_eq!(name(find(&keys, "same").unwrap()), "the first");
    }
}
