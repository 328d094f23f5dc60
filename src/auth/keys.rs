//! API keys: finds the presented one among an application's, in a time that tells nothing.
//!
//! Every key is compared, byte by byte, whether or not one before has matched. Only the lengths of
//! the keys, not their bytes, influence the time.

use std::sync::Arc;

use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};

use crate::model::application::{ApiKey, Application};
use crate::model::identity::Identity;
use crate::model::refusal::Refusal;
use crate::model::rights::Rights;

/// Tells who a caller is. One per shard, so that no reference count is shared between threads by
/// merely asking: identities are lent, and cloned only by what outlives the request.
#[derive(Debug)]
pub struct Authenticator {
    /// What an open application grants to a caller without a key.
    everyone: Arc<Identity>,
}

impl Authenticator {
    /// An authenticator for one shard.
    pub fn new() -> Authenticator {
        Authenticator { everyone: Arc::new(Identity::without_token(Rights::every_topic())) }
    }

    /// Who the caller is that presents `key` to `application`. Whether the application is
    /// enabled is not asked here.
    ///
    /// # Errors
    /// `Unauthorized` for an absent key unless the application is open, and for a wrong key always:
    /// who presents one believes to be someone.
    pub fn authenticate<'a>(
        &'a self,
        application: &'a Application,
        key: Option<&str>,
    ) -> Result<&'a Arc<Identity>, Refusal> {
        match key {
            Some(key) => find(&application.keys, key).ok_or(Refusal::Unauthorized),
            None if application.open => Ok(&self.everyone),
            None => Err(Refusal::Unauthorized),
        }
    }
}

impl Default for Authenticator {
    fn default() -> Self {
        Authenticator::new()
    }
}

/// The holder of the key that equals `presented`; of the first, should two be equal.
pub fn find<'a>(keys: &'a [ApiKey], presented: &str) -> Option<&'a Arc<Identity>> {
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

    fn holder(name: &str) -> Arc<Identity> {
        let rights = Rights { presented: Arc::from([name.to_owned()]), ..Rights::every_topic() };
        Arc::new(Identity::without_token(rights))
    }

    fn application(open: bool, secrets: &[&str]) -> Application {
        let key = |secret: &&str| ApiKey {
            secret: Box::from(*secret),
            identity: holder(&format!("of {secret}")),
        };
        Application { open, keys: secrets.iter().map(key).collect(), ..Application::new("a") }
    }

    fn name(identity: &Identity) -> &str {
        identity.rights.presented.first().map_or("", |name| name)
    }

    #[test]
    fn only_an_equal_key_is_found_wherever_it_stands() {
        let keys = application(false, &["first-key", "second-key", "third-key"]).keys;
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
        let mut keys = application(false, &["same", "same"]).keys;
        keys[0].identity = holder("the first");
        assert_eq!(name(find(&keys, "same").unwrap()), "the first");
    }

    #[test]
    fn absent_wrong_and_right_keys_at_open_and_closed_applications() {
        let authenticator = Authenticator::new();
        let cases = [
            (true, None, Ok("")),
            (true, Some("wrong"), Err(Refusal::Unauthorized)),
            (true, Some(""), Err(Refusal::Unauthorized)),
            (true, Some("right"), Ok("of right")),
            (false, None, Err(Refusal::Unauthorized)),
            (false, Some("wrong"), Err(Refusal::Unauthorized)),
            (false, Some("right"), Ok("of right")),
        ];
        for (open, key, expected) in cases {
            let application = application(open, &["right"]);
            let granted = authenticator.authenticate(&application, key);
            assert_eq!(granted.map(|identity| name(identity)), expected, "open {open}, {key:?}");
        }
    }
}
