//! How a partition changes hands among eventhubs instances, and between them and other SDKs.

use std::sync::Arc;
use std::time::Duration;

use eventhubs_checkpoint_store::Mark;
use eventhubs_load_balancer::{Assignment, Balancer, Lease, LossReason, Settings};
use eventhubs_types::PartitionId;
use tokio::time::{Instant, advance, sleep};

use crate::faulty_store::{Fault, FaultyStore};
use crate::setup::{balancer, greedy, overwrite, owned, owner, partitions, records};

const SECOND: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(10);

/// The instances `a` and `b`: `a` owns and reads two partitions, and `b` has just taken one of them.
struct Scene {
    store: Arc<FaultyStore>,
    hub: Vec<PartitionId>,
    a: Balancer,
    b: Balancer,
    taken: PartitionId,
    /// The leases on it, as the readers of `a` and `b` see them.
    leases: [Lease; 2],
}

async fn scene() -> Scene {
    let (store, hub) = (FaultyStore::with_clock(), partitions(2));
    let (mut a, mut b) = (balancer(&store, "a", &greedy()), balancer(&store, "b", &greedy()));
    a.round(&hub).await;
    let before: Vec<_> = hub.iter().map(|partition| a.lease(partition).expect("it is owned")).collect();
    let round = b.round(&hub).await;
    let [taken] = &round.acquired[..] else { panic!("one of two: {round:?}") };
    let index = hub.iter().position(|partition| partition == taken).expect("it is of the hub");
    let leases = [before[index].clone(), b.lease(taken).expect("it is owned")];
    Scene { taken: taken.clone(), store, hub, a, b, leases }
}

async fn marks(store: &FaultyStore) -> Vec<Option<String>> {
    let text = |mark: Mark| mark.as_str().to_owned();
    records(store).await.into_iter().map(|record| record.mark.map(text)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_taken_partition_is_owned_at_once_and_settled_when_handed_over() {
    let Scene { store, hub, mut a, mut b, taken, leases: [before, after] } = scene().await;
    assert!(after.is_valid() && !after.is_settled());
    let round = a.look(&hub).await;
    assert_eq!((&round.asked, round.lost.len()), (&vec![taken.clone()], 0));
    assert!(before.is_valid(), "a last checkpoint may be written");
    assert!(!owned(&a).contains(&taken));
    assert!(a.look(&hub).await.asked.is_empty(), "it is told once");

    assert!(a.hand_over(std::slice::from_ref(&taken)).await.is_empty());
    assert!(!before.is_valid());
    sleep(b.next_delay()).await;
    assert!(b.round(&hub).await.acquired.is_empty());
    assert!(after.is_settled() && after.is_valid());
    let record = records(&store).await.into_iter().find(|record| record.partition == taken);
    assert_eq!(record.expect("it is there").owner, Some(owner("b")));
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_looks_twenty_times_an_interval_and_does_nothing_else() {
    let Scene { store, hub, mut b, leases: [..], .. } = scene().await;
    let listed = store.script().listed;
    let claimed = store.script().claimed;
    let end = Instant::now() + INTERVAL;
    while Instant::now() < end {
        let delay = b.next_delay();
        assert!(delay <= SECOND * 6 / 10, "{delay:?}");
        sleep(delay).await;
        b.round(&hub).await;
    }
    let looks = store.script().listed - listed;
    assert!((17..=25).contains(&looks), "{looks}");
    assert!(store.script().claimed <= claimed + 1, "nothing but its rounds renews or takes");
}

#[tokio::test(start_paused = true)]
async fn a_silent_owner_is_waited_for_two_intervals_and_no_longer() {
    let Scene { store, hub, mut a, mut b, taken, leases: [_, after] } = scene().await;
    a.look(&hub).await;
    advance(INTERVAL).await;
    assert!(!after.is_settled());
    advance(INTERVAL).await;
    assert!(after.is_settled());
    b.round(&hub).await;
    let before = records(&store).await;
    assert!(a.hand_over(&[taken]).await.is_empty(), "who comes too late has lost a race, which is no error");
    assert_eq!(records(&store).await, before);
}

#[tokio::test(start_paused = true)]
async fn an_answer_between_listing_and_renewal_costs_the_new_owner_nothing() {
    let Scene { store, hub, mut a, mut b, taken, leases: [_, after] } = scene().await;
    a.look(&hub).await;
    advance(INTERVAL).await;
    store.script().claims = Some(Fault::Slow(SECOND));
    let answer = async {
        sleep(SECOND / 10).await;
        a.hand_over(&[taken]).await
    };
    store.script().lists = Some(Fault::Slow(SECOND / 5));
    let (round, failures) = tokio::join!(b.round(&hub), answer);
    assert!(round.lost.is_empty() && failures.is_empty(), "{round:?}");
    let round = b.round(&hub).await;
    assert!(round.lost.is_empty() && round.acquired.is_empty() && round.failures.is_empty(), "{round:?}");
    assert!(after.is_valid() && after.is_settled());
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_renewal_meets_the_question_hears_it() {
    let (store, hub) = (FaultyStore::with_clock(), partitions(2));
    let (mut a, mut b) = (balancer(&store, "a", &greedy()), balancer(&store, "b", &greedy()));
    a.round(&hub).await;
    advance(INTERVAL).await;
    store.script().claims = Some(Fault::Slow(SECOND));
    let later = async {
        sleep(SECOND / 10).await;
        a.round(&hub).await
    };
    let (taken, round) = tokio::join!(b.round(&hub), later);
    assert_eq!((round.asked, round.lost), (taken.acquired, vec![]));
    assert_eq!(owned(&a).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn another_sdk_is_robbed_without_a_question_and_robs_without_one() {
    let (store, hub) = (FaultyStore::with_clock(), partitions(2));
    for id in &hub {
        overwrite(&*store, id, Some("python")).await;
    }
    let mut ours = balancer(&store, "a", &greedy());
    let taken = ours.round(&hub).await.acquired.remove(0);
    assert!(ours.lease(&taken).is_some_and(|lease| lease.is_settled()));
    let marks = marks(&store).await;
    assert_eq!(marks.iter().flatten().collect::<Vec<_>>(), ["1"], "only the own record has a mark");
    overwrite(&*store, &taken, Some("python")).await;
    let round = ours.look(&hub).await;
    assert_eq!((round.lost, round.asked), (vec![(taken, LossReason::Taken)], vec![]));
}

/// Contract §9.3: a changed record makes a renewal of another SDK fail.
#[tokio::test(start_paused = true)]
async fn no_record_of_another_sdk_is_written_but_to_steal_it() {
    let (store, hub) = (FaultyStore::with_clock(), partitions(8));
    for id in &hub[..4] {
        overwrite(&*store, id, Some("python")).await;
    }
    let mut ours = balancer(&store, "a", &Settings::default());
    let theirs = |records: Vec<eventhubs_checkpoint_store::Ownership>| {
        let theirs = records.into_iter().filter(|record| record.owner == Some(owner("python")));
        theirs.map(|record| record.version).collect::<Vec<_>>()
    };
    let before = theirs(records(&store).await);
    for round in 0..30 {
        if round == 20 {
            ours.leave();
        }
        sleep(ours.next_delay().min(SECOND)).await;
        ours.round(&hub).await;
        assert!(!ours.is_offering(), "Python takes no offers");
    }
    assert_eq!(owned(&ours).len(), 4);
    assert_eq!(theirs(records(&store).await), before);
}

#[tokio::test(start_paused = true)]
async fn an_owner_late_with_its_renewal_is_not_waited_for() {
    let (store, hub) = (FaultyStore::with_clock(), partitions(2));
    balancer(&store, "a", &greedy()).round(&hub).await;
    advance(40 * SECOND).await;
    let mut b = balancer(&store, "b", &greedy());
    let taken = b.round(&hub).await.acquired.remove(0);
    assert!(b.lease(&taken).is_some_and(|lease| lease.is_settled()));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_reads_is_handed_over_at_once() {
    let Scene { store, hub, a, mut b, leases: [_, after], .. } = scene().await;
    drop(a);
    let mut restarted = balancer(&store, "a", &greedy());
    let round = restarted.round(&hub).await;
    assert!(round.asked.is_empty() && round.failures.is_empty(), "{round:?}");
    b.look(&hub).await;
    assert!(after.is_settled());
}

#[tokio::test(start_paused = true)]
async fn who_leaves_reads_on_until_others_have_taken_what_it_offers() {
    let Scene { store, hub, mut a, mut b, taken, .. } = scene().await;
    a.round(&hub).await;
    a.hand_over(&[taken]).await;
    let kept = owned(&a);
    let held = b.look(&hub).await.held_elsewhere;
    assert_eq!(held.map(|(_, owner)| owner), Some(owner("a")));
    a.leave();
    let round = a.round(&hub).await;
    assert_eq!(b.look(&hub).await.held_elsewhere, None, "what is offered does not count");
    assert!(a.is_offering() && round.lost.is_empty() && round.asked.is_empty());
    assert_eq!(owned(&a), kept, "it still reads");

    assert!(b.round(&hub).await.acquired.iter().eq(&kept), "an offer is as good as a free partition");
    let round = a.look(&hub).await;
    assert!(round.asked.iter().eq(&kept));
    a.hand_over(&round.asked).await;
    assert!(owned(&a).is_empty());
    b.look(&hub).await;
    assert!(hub.iter().all(|partition| b.lease(partition).is_some_and(|lease| lease.is_settled())));
    assert!(records(&store).await.iter().all(|record| record.owner == Some(owner("b"))));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_takes_nothing_and_what_nobody_takes_can_be_released() {
    let Scene { store, mut a, .. } = scene().await;
    let hub = partitions(3);
    a.leave();
    let round = a.round(&hub).await;
    assert_eq!((round.acquired.len(), round.asked.len()), (0, 1));
    let rest: Vec<_> = a.owned().cloned().collect();
    assert!(a.release(&rest).await.is_empty());
    let owners: Vec<_> = records(&store).await.into_iter().map(|record| record.owner).collect();
    assert!(owners.contains(&None) && !owners.contains(&Some(owner("a"))), "{owners:?}");
}

#[tokio::test(start_paused = true)]
async fn who_winds_down_keeps_what_its_readers_are_at_and_offers_it_no_more() {
    let Scene { store, hub, mut a, mut b, taken, .. } = scene().await;
    a.round(&hub).await;
    a.hand_over(&[taken]).await;
    let kept = owned(&a);
    a.leave();
    a.round(&hub).await;
    assert!(marks(&store).await.contains(&Some("1 offer".to_owned())));
    a.wind_down();
    let start = Instant::now();
    while start.elapsed() < 120 * SECOND {
        advance(INTERVAL).await;
        let round = a.round(&hub).await;
        assert!(round.lost.is_empty() && round.asked.is_empty() && round.acquired.is_empty(), "{round:?}");
        assert!(!a.is_offering());
        if start.elapsed() > 30 * SECOND {
            assert!(b.round(&hub).await.acquired.is_empty(), "each has one");
        }
    }
    assert_eq!(owned(&a), kept);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_offered_where_nobody_would_take_it() {
    let (store, hub) = (FaultyStore::with_clock(), partitions(4));
    let mut alone = balancer(&store, "a", &greedy());
    alone.round(&hub).await;
    alone.leave();
    alone.round(&hub).await;
    assert!(!alone.is_offering(), "alone");

    let fixed = |ordinal| {
        let assignment = Assignment::ByOrdinal { ordinal, instances: 2 };
        greedy().with_assignment(assignment).expect("a valid ordinal")
    };
    let store = FaultyStore::with_clock();
    let mut first = balancer(&store, "a", &fixed(0));
    first.round(&hub).await;
    balancer(&store, "b", &fixed(1)).round(&hub).await;
    first.leave();
    first.round(&hub).await;
    assert!(!first.is_offering(), "the others have their own");
}

#[tokio::test(start_paused = true)]
async fn of_a_fleet_that_leaves_as_a_whole_nobody_waits_for_the_others() {
    let Scene { hub, mut a, mut b, .. } = scene().await;
    a.leave();
    b.leave();
    a.round(&hub).await;
    assert!(a.is_offering(), "the other one has not said yet that it leaves");
    b.round(&hub).await;
    assert!(!b.is_offering(), "but this one has");
    let rest: Vec<_> = b.owned().cloned().collect();
    b.release(&rest).await;
    assert!(a.next_delay() <= INTERVAL / 4 * 12 / 10);
    a.round(&hub).await;
    assert!(!a.is_offering());
}
