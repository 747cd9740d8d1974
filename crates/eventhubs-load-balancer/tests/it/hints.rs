//! Promise: a hint of the store only ever makes an instance look earlier, and a large fleet or a burst of hints
//! does not flood the store.

use std::sync::Arc;
use std::time::Duration;

use eventhubs_checkpoint_store::{Audience, Hint, MemoryCheckpointStore};
use eventhubs_load_balancer::{Assignment, Balancer, Settings};
use tokio::time::{Instant, advance, sleep_until};

use crate::faulty_store::FaultyStore;
use crate::setup::{balancer, greedy, overwrite, owner, partition, partitions};

const GAP: Duration = Duration::from_millis(250);

fn everyone(id: usize) -> Hint {
    Hint::new(partition(id), Audience::Everyone)
}

fn only(name: &str, id: usize) -> Hint {
    Hint::new(partition(id), Audience::Owner(owner(name)))
}

/// An instance for which the other two left nothing of a hub with two partitions, and when its next round is.
async fn idle(settings: &Settings) -> (Arc<FaultyStore>, Balancer, Instant) {
    let store = FaultyStore::with_clock();
    overwrite(&*store, &partition(0), Some("a")).await;
    overwrite(&*store, &partition(1), Some("c")).await;
    let mut b = balancer(&store, "b", settings);
    assert!(b.round(&partitions(2)).await.acquired.is_empty());
    let next = Instant::now() + b.next_delay();
    (store, b, next)
}

#[tokio::test(start_paused = true)]
async fn each_step_of_a_hand_over_is_announced_to_the_one_who_waits_for_it() {
    let (store, hub) = (FaultyStore::with_clock(), partitions(2));
    let (mut a, mut b) = (balancer(&store, "a", &greedy()), balancer(&store, "b", &greedy()));
    a.round(&hub).await;
    assert!(store.hints().is_empty(), "nobody waits for a first claim");
    let taken = b.round(&hub).await.acquired;
    assert_eq!(store.hints(), [Hint::new(taken[0].clone(), Audience::Owner(owner("a")))]);
    let asked = a.look(&hub).await.asked;
    a.hand_over(&asked).await;
    assert_eq!(store.hints()[1..], [Hint::new(taken[0].clone(), Audience::Owner(owner("b")))]);
    b.look(&hub).await;
    a.leave();
    a.round(&hub).await;
    let kept: Vec<_> = a.owned().cloned().collect();
    let offered = Hint::new(kept[0].clone(), Audience::Everyone);
    assert_eq!(store.hints()[2..], std::slice::from_ref(&offered)[..]);
    a.release(&kept).await;
    assert_eq!(store.hints()[3..], [offered]);
}

#[tokio::test(start_paused = true)]
async fn no_renewal_is_announced() {
    let (store, hub) = (FaultyStore::with_clock(), partitions(2));
    let mut a = balancer(&store, "a", &greedy());
    for _ in 0..20 {
        a.round(&hub).await;
        advance(a.next_delay()).await;
    }
    assert!(store.script().claimed > 4, "it has renewed");
    assert!(store.hints().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_hint_for_this_instance_leads_to_a_look_and_keeps_the_round() {
    let (store, mut b, next) = idle(&greedy()).await;
    let claimed = store.script().claimed;
    assert_eq!(b.hinted(&only("b", 0), next), Instant::now());
    assert!(b.round(&partitions(2)).await.acquired.is_empty());
    assert_eq!(store.script().claimed, claimed);
    assert_eq!(Instant::now() + b.next_delay(), next, "the round comes when it was due");
}

#[tokio::test(start_paused = true)]
async fn a_hint_for_everyone_leads_to_a_round_within_ten_ms_per_owner() {
    let (_store, mut b, next) = idle(&greedy()).await;
    let round = b.hinted(&everyone(0), next);
    assert!(round <= Instant::now() + Duration::from_millis(30), "there are three owners");
}

#[tokio::test(start_paused = true)]
async fn what_is_released_is_taken_in_the_round_that_a_hint_leads_to() {
    let (store, hub) = (FaultyStore::with_clock(), partitions(2));
    let (mut a, mut b) = (balancer(&store, "a", &greedy()), balancer(&store, "b", &greedy()));
    a.round(&hub).await;
    let taken = b.round(&hub).await.acquired;
    let asked = a.look(&hub).await.asked;
    a.hand_over(&asked).await;
    b.look(&hub).await;
    let next = Instant::now() + b.next_delay();
    let rest: Vec<_> = a.owned().cloned().collect();
    a.release(&rest).await;
    let hint = store.hints().pop().expect("a release is announced");
    sleep_until(b.hinted(&hint, next)).await;
    assert_eq!(b.round(&hub).await.acquired, rest);
    assert!(next > Instant::now() + Duration::from_secs(1), "the hint has won seconds");
    assert_ne!(taken, rest);
}

/// How many rounds an instance does in two seconds in which these hints come every 10 ms.
async fn rounds_in_a_burst_of(hints: &[Hint]) -> usize {
    let (store, mut b, mut round) = idle(&greedy()).await;
    let (start, listed) = (Instant::now(), store.script().listed);
    while start.elapsed() < Duration::from_secs(2) {
        for hint in hints {
            round = b.hinted(hint, round);
        }
        advance(Duration::from_millis(10)).await;
        if Instant::now() >= round {
            b.round(&partitions(2)).await;
            round = Instant::now() + b.next_delay();
        }
    }
    store.script().listed - listed
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_hints_leads_to_few_rounds() {
    let rounds = rounds_in_a_burst_of(&[everyone(0), everyone(1)]).await;
    assert!((4..=9).contains(&rounds), "{rounds} rounds, one in 250 ms");
    let rounds = rounds_in_a_burst_of(&[only("b", 0), only("b", 1)]).await;
    assert!((20..=41).contains(&rounds), "{rounds} looks, one in 50 ms");
}

/// The longest of many random waits of an instance that stops, in a fleet of this many that has heard no hint.
async fn longest_wait_before_an_offer(owners: usize) -> Duration {
    let store = FaultyStore::with_clock();
    for id in 1..owners {
        overwrite(&*store, &partition(id), Some(&id.to_string())).await;
    }
    let mut a = balancer(&store, "a", &greedy());
    a.round(&partitions(owners)).await;
    let mut other = balancer(&store, "1", &greedy());
    other.round(&partitions(owners)).await;
    a.round(&partitions(owners)).await;
    (0..200).map(|_| a.leave()).max().expect("there are some")
}

/// In a calm fleet no hint comes for hours. An instance that waited for a quarter of the interval where it had heard
/// none kept its partitions for seconds that the others would have taken at once.
#[tokio::test(start_paused = true)]
async fn who_stops_offers_within_ten_ms_per_owner_heard_hints_or_not() {
    for (owners, ms) in [(2, 20), (3, 30), (40, 400)] {
        let (longest, limit) = (longest_wait_before_an_offer(owners).await, Duration::from_millis(ms));
        assert!(longest <= limit && longest > limit / 2, "{owners} owners: {longest:?}");
    }
    let longest = longest_wait_before_an_offer(400).await;
    assert!(longest <= Duration::from_millis(2500), "a quarter of ten seconds: {longest:?}");
    assert!(longest > Duration::from_secs(2), "many that stop together do not meet: {longest:?}");
}

#[tokio::test(start_paused = true)]
async fn hints_that_lead_to_nothing_are_ignored() {
    let (_store, mut b, next) = idle(&greedy()).await;
    for hint in [only("a", 0), only("B", 0), everyone(7)] {
        assert_eq!(b.hinted(&hint, next), next, "{hint:?}");
    }
    b.leave();
    assert_eq!(b.hinted(&everyone(0), next), next, "who leaves takes nothing");
    assert!(b.hinted(&only("b", 0), next) < next, "and still hands over");

    let fixed = greedy().with_assignment(Assignment::Static([partition(0), partition(1)].into()));
    let fixed = fixed.expect("it names partitions");
    let (_store, mut b, next) = idle(&fixed).await;
    assert_eq!(b.hinted(&everyone(0), next), next, "an assignment that is fixed takes nothing");

    let store = Arc::<MemoryCheckpointStore>::default();
    let mut alone = balancer(&store, "a", &greedy());
    alone.round(&partitions(1)).await;
    assert_eq!(alone.hinted(&everyone(0), next), next, "it holds the partition itself");
}

#[tokio::test(start_paused = true)]
async fn a_hint_never_delays_a_round() {
    let (_store, mut b, _) = idle(&greedy()).await;
    let now = Instant::now();
    assert_eq!(b.hinted(&everyone(0), now), now);
    assert_eq!(b.hinted(&only("b", 0), now + GAP / 10), now + GAP / 10, "even within the gap");
}
