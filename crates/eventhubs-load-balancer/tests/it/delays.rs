//! The pauses between rounds.

use std::sync::Arc;
use std::time::Duration;

use eventhubs_checkpoint_store::MemoryCheckpointStore;
use eventhubs_load_balancer::{Settings, Strategy};
use tokio::time::advance;

use crate::faulty_store::{Fault, FaultyStore};
use crate::setup::{balancer, greedy, partition, partitions};

const SECOND: Duration = Duration::from_secs(1);

fn spread(delays: &[Duration]) -> (Duration, Duration) {
    let (least, most) = (delays.iter().min(), delays.iter().max());
    (*least.expect("some delays"), *most.expect("some delays"))
}

#[tokio::test(start_paused = true)]
async fn the_delay_is_the_interval_within_a_fifth() {
    let mut balancer = balancer(&Arc::<MemoryCheckpointStore>::default(), "a", &greedy());
    let delays: Vec<_> = (0..1000).map(|_| balancer.next_delay()).collect();
    let (least, most) = spread(&delays);
    assert!((8 * SECOND..9 * SECOND).contains(&least), "{least:?}");
    assert!((11 * SECOND..12 * SECOND).contains(&most), "{most:?}");
}

#[tokio::test(start_paused = true)]
async fn the_first_delay_is_up_to_a_tenth_of_the_interval() {
    let mut balancer = balancer(&Arc::<MemoryCheckpointStore>::default(), "a", &greedy());
    let delays: Vec<_> = (0..1000).map(|_| balancer.first_delay(2)).collect();
    let (least, most) = spread(&delays);
    assert!(least < SECOND / 10 && most > SECOND.mul_f64(0.9) && most < SECOND, "{least:?} to {most:?}");
}

#[tokio::test(start_paused = true)]
async fn only_a_greedy_round_that_won_something_is_followed_soon() {
    let mut balancer = balancer(&Arc::<MemoryCheckpointStore>::default(), "a", &greedy());
    balancer.round(&partitions(2)).await;
    assert!(balancer.next_delay() < 2 * SECOND);
    balancer.round(&partitions(2)).await;
    assert!(balancer.next_delay() >= 8 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_store_in_trouble_is_not_hurried() {
    let store = FaultyStore::new();
    store.script().poisoned = Some(partition(0));
    let mut balancer = balancer(&store, "a", &greedy());
    let round = balancer.round(&partitions(2)).await;
    assert_eq!((round.acquired.len(), round.failures.len()), (1, 1));
    assert!(balancer.next_delay() >= 8 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn balanced_never_hurries() {
    let settings = Settings::default().with_strategy(Strategy::Balanced);
    let mut balancer = balancer(&Arc::<MemoryCheckpointStore>::default(), "a", &settings);
    balancer.round(&partitions(2)).await;
    assert!(balancer.next_delay() >= 8 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn no_delay_goes_beyond_the_end_of_an_own_lease() {
    let mut balancer = balancer(&Arc::<MemoryCheckpointStore>::default(), "a", &greedy());
    balancer.round(&partitions(2)).await;
    advance(56 * SECOND).await;
    assert!(balancer.next_delay() <= SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_store_is_asked_again_after_an_expiry_whatever_it_asked_for() {
    let store = FaultyStore::new();
    store.script().lists = Some(Fault::Throttles(Duration::from_secs(u64::MAX)));
    let mut balancer = balancer(&store, "a", &greedy());
    balancer.round(&partitions(2)).await;
    let delay = balancer.next_delay();
    assert!((48 * SECOND..72 * SECOND).contains(&delay), "{delay:?}");
}
