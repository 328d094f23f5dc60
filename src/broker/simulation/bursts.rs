//! More comes due at once than one turn takes.

use std::collections::VecDeque;
use std::sync::Arc;

use super::ears::Ears;
use crate::broker::{Arrival, Broker, BrokerOptions};
use crate::model::application::{AppIndex, Application, Applications, PresenceOptions};
use crate::model::family::{Family, HistoryLimits};
use crate::model::form::Form;
use crate::model::id::ConnectionIds;
use crate::model::identity::Identity;
use crate::model::position::Epoch;
use crate::model::rights::Rights;
use crate::model::shard::ShardIndex;
use crate::stdx::slab::Key;

#[test]
fn a_turn_tells_so_many_goings_and_the_next_the_rest() {
    let presence = PresenceOptions { debounce_ms: 2, ..PresenceOptions::default() };
    let unkept = Family { history: HistoryLimits::NONE, ..Family::default() };
    let families = vec![unkept];
    let application = Application { presence, families, ..Application::new("a") };
    let ids = ConnectionIds::random();
    let options = BrokerOptions {
        shard: ShardIndex(0),
        shard_count: 1,
        epoch: Epoch(1),
        run: 1,
        seed: 1,
        ids: ids.clone(),
        idle_topics_max: 10,
        history_size_max: 1 << 20,
        store: None,
    };
    let applications = Arc::new(Applications::new(vec![application], None));
    let mut broker = Broker::new(options, applications);
    let mut ears = Ears { lanes: vec![VecDeque::new()], happened: Vec::new() };
    let keys: Vec<Key> = (0..1500).map(|index| Key { index, generation: 0 }).collect();
    for key in &keys {
        let rights = Rights::every_topic();
        let subject = Some(format!("s{}", key.index).into());
        let arrival = Arrival {
            app: AppIndex(0),
            form: Form::Realtime { positions: false, window: None },
            connection: ids.id(ShardIndex(0), *key),
            identity: Arc::new(Identity { subject, ..Identity::without_token(rights) }),
            is_present: true,
        };
        broker.begin(*key, arrival, 1_000, &mut ears);
    }
    assert!(ears.happened.is_empty(), "its home has not heard of anyone yet");
    assert_eq!(broker.next_due_us(), Some(0));
    broker.run_timers(1_000, &mut ears);
    assert_eq!((ears.happened.len(), broker.subjects.len()), (1500, 1500));
    assert_eq!(broker.next_due_us(), None);
    for key in &keys {
        broker.end(*key, 1_500, &mut ears);
    }
    broker.run_timers(1_500, &mut ears);
    assert_eq!((broker.subjects.len(), broker.next_due_us()), (1500, Some(3_500)));
    broker.run_timers(3_499, &mut ears);
    assert_eq!(broker.subjects.len(), 1500);
    broker.run_timers(3_500, &mut ears);
    assert_eq!((broker.subjects.len(), broker.next_due_us()), (1500 - 1024, Some(3_500)));
    broker.run_timers(3_500, &mut ears);
    assert_eq!((broker.subjects.len(), broker.next_due_us()), (0, None));
}
