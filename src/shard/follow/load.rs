//! Messages and deliveries by topic, counted while somebody wants to know.

use std::collections::HashMap;

use crate::model::application::AppIndex;
use crate::model::topic::TopicName;

/// Topics that one shard tells apart per second; what comes to others then is not told.
const TOPICS_MAX: usize = 10_000;

/// Topics that are told: the busiest.
pub(super) const TOPICS_TOLD_MAX: usize = 50;

/// One topic's numbers of one second.
#[derive(Clone, Debug)]
pub(super) struct TopicLoad {
    pub(super) app: AppIndex,
    pub(super) topic: TopicName,
    pub(super) published: u64,
    pub(super) delivered: u64,
}

/// The numbers of all topics.
#[derive(Debug, Default)]
pub(in crate::shard) struct Loads {
    topics: HashMap<(AppIndex, TopicName), (u64, u64), foldhash::fast::RandomState>,
}

impl Loads {
    /// Counts for a topic.
    pub(super) fn add(&mut self, app: AppIndex, topic: &TopicName, published: u64, delivered: u64) {
        let key = (app, topic.clone());
        if self.topics.len() >= TOPICS_MAX && !self.topics.contains_key(&key) {
            return;
        }
        let (all_published, all_delivered) = self.topics.entry(key).or_default();
        *all_published += published;
        *all_delivered += delivered;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// The busiest topics, busiest first; counting begins anew.
    pub(super) fn take_busiest(&mut self) -> Vec<TopicLoad> {
        let mut loads: Vec<TopicLoad> = self
            .topics
            .drain()
            .map(|((app, topic), (published, delivered))| TopicLoad {
                app,
                topic,
                published,
                delivered,
            })
            .collect();
        loads.sort_unstable_by(|a, b| {
            let work = |load: &TopicLoad| load.published + load.delivered;
            work(b).cmp(&work(a)).then_with(|| a.topic.cmp(&b.topic))
        });
        loads.truncate(TOPICS_TOLD_MAX);
        loads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_come_first_and_the_number_of_topics_is_bounded() {
        let mut loads = Loads::default();
        for number in 0..TOPICS_MAX as u64 + 5 {
            let topic = TopicName::new(&format!("t{number}")).unwrap();
            loads.add(AppIndex(0), &topic, 1, number % 100);
        }
        assert_eq!(loads.topics.len(), TOPICS_MAX);
        let busiest = loads.take_busiest();
        assert_eq!(busiest.len(), TOPICS_TOLD_MAX);
        assert!(busiest.iter().all(|load| load.published == 1 && load.delivered == 99));
        assert!(loads.is_empty());
    }
}
