//! Other applications under running topics and sessions.
//!
//! A topic that exists gets its new family's limits and policies; sessions are the shard's to judge
//! and to end. Which topics are durable does not change (`model::succession`), so no topic moves to
//! another home.
//!
//! Cost: all topics of applications whose families have changed are looked at, in one go.

use std::sync::Arc;

use super::core::Broker;
use crate::model::application::{AppIndex, Applications};
use crate::model::identity::Identity;
use crate::stdx::slab::Key;

impl Broker {
    /// Takes over the successors of its applications, and how many bytes this shard's home topics may
    /// keep in memory; at `time_us`.
    pub fn set_applications(
        &mut self,
        applications: &Arc<Applications>,
        history_size_max: usize,
        time_us: u64,
    ) {
        self.time_us = time_us;
        let former = std::mem::replace(&mut self.applications, Arc::clone(applications));
        self.home.set_applications(Arc::clone(applications));
        if self.options.history_size_max != history_size_max {
            self.options.history_size_max = history_size_max;
            self.home.set_history_size_max(history_size_max, time_us);
        }
        let changed: Vec<bool> =
            applications.iter().map(|(app, _)| topics_differ(&former, applications, app)).collect();
        if changed.contains(&true) {
            self.apply_families(|app| changed[usize::from(app.0)], time_us);
        }
    }

    fn apply_families(&mut self, is_changed: impl Fn(AppIndex) -> bool, time_us: u64) {
        for history in self.home.apply_families(&is_changed, time_us) {
            self.watch_history(history, time_us);
        }
        let local: Vec<Key> = self.topics.keys().collect();
        for key in local {
            let topic = self.topics.get_mut(key).expect("listed just now");
            if is_changed(topic.key.app) {
                let application = self.applications.get(topic.key.app);
                let family = application.family(application.family_of(&topic.key.name));
                topic.slow_consumer = family.slow_consumer;
                topic.sends_latest = family.sends_last;
            }
        }
    }

    /// The live sessions of an application that have not been told to close, and who each is.
    pub fn identities(&self, app: AppIndex) -> impl Iterator<Item = (Key, &Arc<Identity>)> {
        self.sessions_of(app).map(|(key, session)| (key, &session.identity))
    }
}

/// Whether something about the application's topics differs. One that is new has none yet.
fn topics_differ(former: &Applications, new: &Applications, app: AppIndex) -> bool {
    if former.iter().len() <= usize::from(app.0) {
        return false;
    }
    former.get(app).families != new.get(app).families
        || former.is_removed(app) != new.is_removed(app)
}
