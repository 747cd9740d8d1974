//! Instances that may not own just anything.

use std::num::NonZeroUsize;

use eventhubs_load_balancer::{Assignment, InvalidSettings, Settings};
use tokio::time::advance;

use crate::faulty_store::FaultyStore;
use crate::setup::{balancer, overwrite, owned, partition, partitions};

fn ordinal(ordinal: u32, instances: u32) -> Settings {
    Settings::default()
        .with_assignment(Assignment::ByOrdinal { ordinal, instances })
        .expect("a valid ordinal")
}

#[tokio::test(start_paused = true)]
async fn ordinals_split_the_hub_in_their_first_round_and_never_meet() {
    let (store, hub) = (FaultyStore::new(), partitions(12));
    let mut fleet: Vec<_> = (0..3).map(|i| balancer(&store, &format!("pod-{i}"), &ordinal(i, 3))).collect();
    for (i, balancer) in fleet.iter_mut().enumerate() {
        balancer.round(&hub).await;
        assert_eq!(owned(balancer), (i..12).step_by(3).map(partition).collect());
    }
    assert_eq!(store.script().claimed, 12);
}

#[tokio::test(start_paused = true)]
async fn a_static_instance_takes_its_partitions_only_from_nobody() {
    let (store, hub) = (FaultyStore::new(), partitions(4));
    overwrite(&store, &partition(1), Some("b")).await;
    let assignment = Assignment::Static([partition(1), partition(2)].into());
    let settings = Settings::default().with_assignment(assignment).expect("valid");
    let mut balancer = balancer(&store, "a", &settings);
    balancer.round(&hub).await;
    assert_eq!(owned(&balancer), [partition(2)].into(), "what b holds stays with b");
    overwrite(&store, &partition(1), None).await;
    balancer.round(&hub).await;
    assert_eq!(owned(&balancer), [partition(1), partition(2)].into());
}

#[tokio::test(start_paused = true)]
async fn an_instance_takes_no_more_than_its_maximum_also_of_what_it_had_before() {
    let (store, hub) = (FaultyStore::new(), partitions(8));
    for id in &hub {
        overwrite(&store, id, Some("a")).await;
    }
    let settings = Settings::default().with_max_partitions(NonZeroUsize::new(3).expect("not zero"));
    let mut balancer = balancer(&store, "a", &settings);
    for _ in 0..12 {
        balancer.round(&hub).await;
        assert_eq!(owned(&balancer).len(), 3);
        advance(balancer.next_delay()).await;
    }
}

#[test]
fn an_ordinal_that_is_too_large_is_refused() {
    let error = Settings::default().with_assignment(Assignment::ByOrdinal { ordinal: 3, instances: 3 });
    assert_eq!(error, Err(InvalidSettings::OrdinalTooLarge { ordinal: 3, instances: 3 }));
}
