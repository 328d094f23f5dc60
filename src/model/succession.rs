//! What becomes of the applications when the configuration is read again.
//!
//! Invariants
//! - An id keeps its index for the life of the process, also while it is gone, so that whatever is
//!   under way names the application that it was meant for. No index is given to another id.
//! - Which topics are durable never changes under a running broker, since the topics' homes depend on
//!   it: where it would, the application keeps its former families until the restart.
//! - A key that stays keeps its holder's [`Identity`](super::identity::Identity) itself (not only an
//!   equal one), by which a shard knows whose sessions stay.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use super::application::{ApiKey, AppIndex, Application, Applications};
use super::family::Family;

/// Most ids that one process ever knows; those that were removed count.
pub const IDS_EVER_MAX: usize = 16_384;

/// One process has known too many application ids.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooManyIds;

impl fmt::Display for TooManyIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {IDS_EVER_MAX} application ids since the start; restart to add more")
    }
}

impl std::error::Error for TooManyIds {}

impl Applications {
    /// These as the successors of `former`. An application of which `former` knows nothing and that has
    /// durable topics is left out unless there is a store.
    ///
    /// # Errors
    /// There would be more ids than a process may know.
    pub fn succeeding(
        self,
        former: &Applications,
        has_store: bool,
    ) -> Result<Applications, TooManyIds> {
        let known: HashMap<&str, AppIndex> =
            former.iter().map(|(index, application)| (&*application.id, index)).collect();
        let name_of = |index: AppIndex| Arc::clone(&self.get(index).id);
        let buzzpost = self.buzzpost.map(name_of);
        let simple_poll = self.simple_poll().map(|(app, topic)| (name_of(app), topic.clone()));
        let mut list = former.list.clone();
        let mut removed: BTreeSet<_> = former.iter().map(|(i, _)| i).collect();
        for application in self.list {
            if let Some(index) = known.get(&*application.id) {
                let place = &mut list[usize::from(index.0)];
                *place = settled(place, application);
                removed.remove(index);
            } else if has_store || !application.has_durable_topics() {
                list.push(application);
            }
        }
        if list.len() > IDS_EVER_MAX {
            return Err(TooManyIds);
        }
        for index in &removed {
            empty(&mut list[usize::from(index.0)]);
        }
        let all =
            Applications { removed, key_sets: self.key_sets, ..Applications::new(list, None) };
        let by_id = all.iter().filter(|(index, _)| !all.is_removed(*index));
        let by_id: HashMap<_, _, _> =
            by_id.map(|(index, application)| (Arc::clone(&application.id), index)).collect();
        Ok(Applications {
            buzzpost: buzzpost.and_then(|id| by_id.get(&id).copied()),
            simple_poll: simple_poll.and_then(|(id, topic)| Some((*by_id.get(&id)?, topic))),
            by_id,
            ..all
        })
    }
}

/// Whether the same topics are durable in both, whatever they are named.
pub fn same_durability(one: &Application, other: &Application) -> bool {
    let durability = |application: &Application| -> Vec<_> {
        let of = |family: &Family| (family.patterns.clone(), family.durable);
        application.families.iter().map(of).collect()
    };
    (!one.has_durable_topics() && !other.has_durable_topics())
        || durability(one) == durability(other)
}

/// An application as it goes on.
fn settled(former: &Application, new: Application) -> Application {
    let stays = |key: ApiKey| match former.keys.iter().find(|known| known.secret == key.secret) {
        Some(known) if known.identity == key.identity => known.clone(),
        _ => key,
    };
    let is_settled = same_durability(former, &new);
    Application {
        families: if is_settled { new.families } else { former.families.clone() },
        keys: new.keys.into_iter().map(stays).collect(),
        ..new
    }
}

/// What is left of an application that is gone: nobody may come in. Its families stay, because what is
/// under way to the store must not be judged by others.
fn empty(application: &mut Application) {
    application.enabled = false;
    application.open = false;
    application.keys.clear();
    application.auth_keys.clear();
    application.admin_keys.clear();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::family::HistoryLimits;
    use crate::model::identity::Identity;
    use crate::model::pattern::Patterns;
    use crate::model::rights::Rights;

    fn named(ids: &[&str]) -> Applications {
        Applications::new(ids.iter().map(|id| Application::new(id)).collect(), ids.first().copied())
    }

    fn indexes(applications: &Applications, ids: &[&str]) -> Vec<Option<u16>> {
        ids.iter().map(|id| applications.find(id).map(|index| index.0)).collect()
    }

    fn key(secret: &str, rights: Rights) -> ApiKey {
        ApiKey { secret: secret.into(), identity: Arc::new(Identity::without_token(rights)) }
    }

    fn durable(is_durable: bool, count_max: u32) -> Application {
        let history = HistoryLimits { count_max, ..HistoryLimits::default() };
        let patterns = Patterns::new(["orders/*"]);
        let first = Family { patterns, durable: is_durable, history, ..Family::default() };
        Application { families: vec![first, Family::default()], ..Application::new("a") }
    }

    fn succeeding(former: Application, new: Application, has_store: bool) -> Applications {
        let former = Applications::new(vec![former], None);
        Applications::new(vec![new], None).succeeding(&former, has_store).unwrap()
    }

    #[test]
    fn an_id_keeps_its_index_while_it_is_gone_and_when_it_returns() {
        let first = named(&["a", "b"]);
        let second = named(&["c", "b"]).succeeding(&first, false).unwrap();
        assert_eq!(indexes(&second, &["a", "b", "c"]), [None, Some(1), Some(2)]);
        assert!(second.is_removed(AppIndex(0)) && !second.get(AppIndex(0)).enabled);
        assert_eq!(second.buzzpost(), Some(AppIndex(2)));
        let third = named(&["d", "a"]).succeeding(&second, false).unwrap();
        assert_eq!(indexes(&third, &["a", "b", "c", "d"]), [Some(0), None, None, Some(3)]);
        assert!(third.get(AppIndex(0)).enabled && third.is_removed(AppIndex(1)));
        assert_eq!(third.buzzpost(), Some(AppIndex(3)));
    }

    #[test]
    fn a_process_knows_a_bounded_number_of_ids() {
        let ids: Vec<String> = (0..IDS_EVER_MAX).map(|number| format!("a{number}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let full = named(&ids);
        assert!(named(&["a7"]).succeeding(&full, false).is_ok());
        assert_eq!(named(&["b"]).succeeding(&full, false).unwrap_err(), TooManyIds);
    }

    #[test]
    fn a_key_that_stays_keeps_its_holder_and_one_with_other_rights_does_not() {
        let every = Rights::every_topic;
        let none = || Rights { publish: Patterns::default(), ..every() };
        let keys = vec![key("one", every()), key("two", every())];
        let former = Application { keys, ..Application::new("a") };
        let keys = vec![key("two", none()), key("three", every()), key("one", every())];
        let new = Application { keys, ..Application::new("a") };
        let holders: Vec<_> = former.keys.iter().map(|key| Arc::clone(&key.identity)).collect();
        let all = succeeding(former, new, false);
        let is_kept = |place: usize, holder: usize| {
            Arc::ptr_eq(&all.get(AppIndex(0)).keys[place].identity, &holders[holder])
        };
        assert!(is_kept(2, 0) && !is_kept(0, 1) && !is_kept(1, 0));
    }

    #[test]
    fn which_topics_are_durable_stays_and_how_much_is_kept_of_them_changes() {
        let limit = |all: &Applications| {
            let family = &all.get(AppIndex(0)).families[0];
            (family.durable, family.history.count_max)
        };
        for (former, new, expected) in [
            (durable(true, 5), durable(true, 7), (true, 7)),
            (durable(true, 5), durable(false, 7), (true, 5)),
            (durable(false, 5), durable(true, 7), (false, 5)),
            (durable(false, 5), durable(false, 7), (false, 7)),
        ] {
            assert_eq!(limit(&succeeding(former, new, true)), expected);
        }
        let without_store = named(&["x"]);
        let all = Applications::new(vec![Application::new("x"), durable(true, 5)], None);
        let all = all.succeeding(&without_store, false).unwrap();
        assert_eq!(indexes(&all, &["x", "a"]), [Some(0), None]);
    }
}
