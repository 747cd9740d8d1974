//! One round after another of one balancer, against a store that works.

use std::sync::Arc;
use std::time::Duration;

use eventhubs_checkpoint_store::{CheckpointStore as _, MemoryCheckpointStore};
use eventhubs_load_balancer::{Assignment, LossReason, Settings, Strategy};
use tokio::time::advance;

use crate::faulty_store::FaultyStore;
use crate::setup::{
    balancer, greedy, overwrite, owned, owner, partition, partitions, records, scope, settings,
};

const INTERVAL: Duration = Duration::from_secs(10);

fn memory() -> Arc<MemoryCheckpointStore> {
    Arc::default()
}

#[tokio::test(start_paused = true)]
async fn greedy_takes_all_that_is_free_in_its_first_round() {
    let (store, hub) = (memory(), partitions(8));
    let round = balancer(&store, "a", &greedy()).round(&hub).await;
    assert_eq!(round.acquired, hub);
    assert!(round.lost.is_empty() && round.failures.is_empty() && round.rejected.is_empty());
    assert!(records(&store).await.iter().all(|record| record.owner == Some(owner("a"))));
}

#[tokio::test(start_paused = true)]
async fn balanced_takes_one_partition_a_round() {
    let (store, hub) = (memory(), partitions(3));
    let mut balancer = balancer(&store, "a", &settings(Strategy::Balanced));
    for count in [1, 2, 3, 3] {
        balancer.round(&hub).await;
        assert_eq!(owned(&balancer).len(), count);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_run_before_left_under_the_same_id_is_taken_up_at_once() {
    let (store, hub) = (memory(), partitions(4));
    balancer(&store, "a", &greedy()).round(&hub).await;
    let mut restarted = balancer(&store, "a", &greedy());
    assert_eq!(restarted.round(&hub).await.acquired, hub);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_another_owner_took_is_lost() {
    let (store, hub) = (memory(), partitions(2));
    let mut balancer = balancer(&store, "a", &greedy());
    balancer.round(&hub).await;
    overwrite(&store, &hub[0], Some("b")).await;
    let round = balancer.round(&hub).await;
    assert_eq!(round.lost, [(partition(0), LossReason::Taken)]);
    assert!(round.acquired.is_empty());
    assert!(balancer.owned().eq([&hub[1]]));
}

#[tokio::test(start_paused = true)]
async fn a_look_tells_that_another_live_instance_has_a_partition_of_the_assignment() {
    let (store, hub) = (memory(), partitions(3));
    overwrite(&store, &hub[1], Some("b")).await;
    let mut all = balancer(&store, "a", &greedy());
    assert_eq!(all.look(&hub).await.held_elsewhere, Some((partition(1), owner("b"))));
    assert!(all.owned().next().is_none(), "a look takes nothing");
    let others = greedy().with_assignment(Assignment::Static([partition(0), partition(2)].into())).unwrap();
    assert_eq!(balancer(&store, "c", &others).look(&hub).await.held_elsewhere, None);
    advance(greedy().expiry()).await;
    assert_eq!(all.look(&hub).await.held_elsewhere, None, "its lease has expired");
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_the_hub_lost_is_gone() {
    let (store, hub) = (memory(), partitions(2));
    let mut balancer = balancer(&store, "a", &greedy());
    balancer.round(&hub).await;
    let round = balancer.round(&hub[..1]).await;
    assert_eq!(round.lost, [(partition(1), LossReason::Gone)]);
    assert_eq!(owned(&balancer).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_the_hub_gained_is_taken() {
    let (store, hub) = (memory(), partitions(3));
    let mut balancer = balancer(&store, "a", &greedy());
    balancer.round(&hub[..2]).await;
    assert_eq!(balancer.round(&hub).await.acquired, [partition(2)]);
}

#[tokio::test(start_paused = true)]
async fn records_of_partitions_that_the_hub_does_not_have_count_for_nothing() {
    let (store, hub) = (memory(), partitions(2));
    overwrite(&store, &partition(7), Some("ghost")).await;
    let round = balancer(&store, "a", &greedy()).round(&hub).await;
    assert_eq!(round.acquired, hub, "no share is left for the ghost");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_a_stranger_released_is_written_again() {
    let (store, hub) = (memory(), partitions(1));
    let mut balancer = balancer(&store, "a", &greedy());
    balancer.round(&hub).await;
    overwrite(&store, &hub[0], None).await;
    advance(INTERVAL).await;
    let round = balancer.round(&hub).await;
    assert!(round.lost.is_empty() && round.acquired.is_empty());
    assert_eq!(records(&store).await[0].owner, Some(owner("a")));
}

/// As an operator deletes it, or a clean-up of the container.
#[tokio::test(start_paused = true)]
async fn a_record_that_was_deleted_is_written_again_and_its_partition_kept() {
    let (store, hub) = (memory(), partitions(2));
    let mut balancer = balancer(&store, "a", &greedy());
    balancer.round(&hub).await;
    for record in records(&store).await {
        store.delete_ownership(&scope(), &record.partition, &record.version).await.unwrap();
    }
    for failures in [None, Some(0)] {
        advance(INTERVAL).await;
        let round = balancer.round(&hub).await;
        assert!(round.lost.is_empty() && owned(&balancer).len() == 2, "{round:?}");
        assert!(failures.is_none_or(|failures| round.failures.len() == failures), "{round:?}");
    }
    assert!(records(&store).await.iter().all(|record| record.owner == Some(owner("a"))));
    assert_eq!(records(&store).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_partition_that_is_still_ours_is_acquired_again() {
    let (store, hub) = (memory(), partitions(2));
    let mut balancer = balancer(&store, "a", &greedy());
    balancer.round(&hub).await;
    balancer.forget(&hub[0]);
    assert!(balancer.owned().eq([&hub[1]]));
    let round = balancer.round(&hub).await;
    assert_eq!(round.acquired, [partition(0)]);
    assert!(round.lost.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_partition_that_another_owner_holds_stays_there() {
    let (store, hub) = (memory(), partitions(2));
    let mut balancer = balancer(&store, "a", &greedy());
    balancer.round(&hub).await;
    overwrite(&store, &hub[0], Some("b")).await;
    balancer.forget(&hub[0]);
    let round = balancer.round(&hub).await;
    assert!(round.acquired.is_empty() && round.lost.is_empty(), "{round:?}");
    assert_eq!(records(&store).await[0].owner, Some(owner("b")));
}

#[tokio::test(start_paused = true)]
async fn every_round_at_the_interval_renews_all_that_is_held() {
    let (store, hub) = (FaultyStore::new(), partitions(4));
    let mut balancer = balancer(&store, "a", &greedy());
    balancer.round(&hub).await;
    for round in 1..=10 {
        advance(INTERVAL.mul_f64(0.8)).await;
        balancer.round(&hub).await;
        assert_eq!(store.script().claimed, 4 + 4 * round);
    }
}

#[tokio::test(start_paused = true)]
async fn a_round_that_follows_soon_renews_nothing() {
    let (store, hub) = (FaultyStore::new(), partitions(4));
    let mut balancer = balancer(&store, "a", &greedy());
    balancer.round(&hub).await;
    advance(balancer.next_delay()).await;
    balancer.round(&hub).await;
    let script = store.script();
    assert_eq!((script.listed, script.claimed), (2, 4));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_is_reported_and_stops_nothing_else() {
    let (store, hub) = (FaultyStore::new(), partitions(2));
    overwrite(&store, &hub[0], Some("b")).await;
    store.script().unreadable = Some(partition(0));
    let mut balancer = balancer(&store, "a", &greedy());
    let round = balancer.round(&hub).await;
    assert_eq!(round.acquired, [partition(1)]);
    assert_eq!(round.rejected.len(), 1);
    assert!(round.failures.is_empty(), "a lost claim is no error");
    balancer.round(&hub).await;
    assert!(balancer.next_delay() >= INTERVAL.mul_f64(0.8), "nor a reason to hurry forever");
}

#[tokio::test(start_paused = true)]
async fn released_partitions_have_no_owner_and_are_not_held() {
    let (store, hub) = (memory(), partitions(3));
    let mut balancer = balancer(&store, "a", &greedy());
    balancer.round(&hub).await;
    assert!(balancer.release(&hub[..2]).await.is_empty());
    let owners: Vec<_> = records(&store).await.into_iter().map(|record| record.owner).collect();
    assert_eq!(owners, [None, None, Some(owner("a"))]);
    assert!(balancer.owned().eq([&hub[2]]));
}

#[tokio::test(start_paused = true)]
async fn a_release_leaves_alone_what_another_owner_holds() {
    let (store, hub) = (memory(), partitions(2));
    let mut balancer = balancer(&store, "a", &greedy());
    balancer.round(&hub).await;
    overwrite(&store, &hub[0], Some("b")).await;
    assert!(balancer.release(&hub).await.is_empty(), "a lost race is no error");
    let owners: Vec<_> = records(&store).await.into_iter().map(|record| record.owner).collect();
    assert_eq!(owners, [Some(owner("b")), None]);
}

#[tokio::test(start_paused = true)]
async fn to_release_nothing_asks_nothing_of_the_store() {
    let store = FaultyStore::new();
    assert!(balancer(&store, "a", &greedy()).release(&[]).await.is_empty());
    assert_eq!(store.script().listed, 0);
}

#[tokio::test(start_paused = true)]
async fn of_two_live_instances_with_one_id_the_later_has_to_give_way() {
    for settings in [greedy(), Settings::default()] {
        let (store, hub) = (memory(), partitions(4));
        let mut earlier = balancer(&store, "a", &settings);
        for _ in 0..5 {
            earlier.round(&hub).await;
        }
        let mut later = balancer(&store, "a", &settings);
        let mut rounds = 0;
        while !later.round(&hub).await.is_owner_taken {
            advance(INTERVAL).await;
            assert!(!earlier.round(&hub).await.is_owner_taken);
            rounds += 1;
            assert!(rounds <= 12, "it is found out within two expiries");
        }
        assert_eq!(owned(&earlier).len(), 4);
    }
}
