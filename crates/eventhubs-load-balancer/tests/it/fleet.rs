//! Several instances that share a store, each in a task of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use eventhubs_load_balancer::{Balancer, Settings, Strategy};
use eventhubs_types::{OwnerId, PartitionId};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::faulty_store::{Fault, FaultyStore};
use crate::setup::{balancer, overwrite, owner, partitions, records, settings};

const SECOND: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(10);
const EXPIRY: Duration = Duration::from_secs(60);
/// The longest pause between two rounds.
const PAUSE: Duration = Duration::from_secs(12);

struct Instance {
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

struct Fleet {
    store: Arc<FaultyStore>,
    settings: Settings,
    hub: Vec<PartitionId>,
    instances: BTreeMap<String, Instance>,
}

impl Fleet {
    fn new(store: &Arc<FaultyStore>, count: usize) -> Self {
        Self {
            store: Arc::clone(store),
            settings: Settings::default(),
            hub: partitions(count),
            instances: BTreeMap::new(),
        }
    }

    fn start(&mut self, name: &str) {
        self.start_with(name, &self.settings.clone());
    }

    fn start_with(&mut self, name: &str, settings: &Settings) {
        let balancer = balancer(&self.store, name, settings);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(run(balancer, self.hub.clone(), stopped));
        self.instances.insert(name.to_owned(), Instance { task, stop });
    }

    /// Ends an instance as a crash does.
    fn kill(&mut self, name: &str) {
        self.instances.remove(name).expect("it runs").task.abort();
    }

    /// Ends an instance and waits until it has released all.
    async fn stop(&mut self, name: &str) {
        let instance = self.instances.remove(name).expect("it runs");
        instance.stop.send(()).expect("it runs");
        instance.task.await.expect("it ends well");
    }

    /// How much each owner has.
    async fn shares(&self) -> BTreeMap<Option<OwnerId>, usize> {
        let mut shares = BTreeMap::new();
        for record in records(&self.store).await {
            *shares.entry(record.owner).or_default() += 1;
        }
        shares
    }

    /// What these own, in this order; and what nobody owns.
    async fn owned_by<const N: usize>(&self, names: [&str; N]) -> ([usize; N], usize) {
        let shares = self.shares().await;
        let owned = names.map(|name| shares.get(&Some(owner(name))).copied().unwrap_or(0));
        (owned, self.hub.len() - owned.iter().sum::<usize>())
    }

    /// Whether those that run, and nobody else, own all partitions in fair shares.
    async fn is_fair(&self) -> bool {
        let shares = self.shares().await;
        let share = |name: &String| shares.get(&Some(owner(name))).copied().unwrap_or(0);
        let (count, instances) = (self.hub.len(), self.instances.len());
        self.instances.keys().map(share).sum::<usize>() == count
            && self
                .instances
                .keys()
                .map(share)
                .all(|share| [count / instances, count.div_ceil(instances)].contains(&share))
    }

    /// Waits for fair shares, and gives the time it took.
    async fn settle(&self, limit: Duration) -> Duration {
        let start = Instant::now();
        let settled = timeout(limit, async {
            while !self.is_fair().await {
                sleep(SECOND / 10).await;
            }
        });
        assert!(settled.await.is_ok(), "not fair after {limit:?}: {:?}", self.shares().await);
        start.elapsed()
    }
}

async fn run(mut balancer: Balancer, hub: Vec<PartitionId>, mut stopped: oneshot::Receiver<()>) {
    sleep(balancer.first_delay(hub.len())).await;
    loop {
        balancer.round(&hub).await;
        tokio::select! {
            _ = &mut stopped => break,
            () = sleep(balancer.next_delay()) => {}
        }
    }
    let owned: Vec<_> = balancer.owned().cloned().collect();
    let failures = balancer.release(&owned).await;
    assert!(failures.is_empty(), "{failures:?}");
}

#[tokio::test(start_paused = true)]
async fn two_instances_share_eight_partitions_four_and_four() {
    let mut fleet = Fleet::new(&FaultyStore::new(), 8);
    fleet.start("a");
    fleet.settle(INTERVAL).await;
    fleet.start("b");
    fleet.settle(INTERVAL).await;
    assert_eq!(fleet.shares().await, BTreeMap::from([(Some(owner("a")), 4), (Some(owner("b")), 4)]));
    assert_eq!(fleet.store.steals(), 4, "no steal more than it takes");
}

#[tokio::test(start_paused = true)]
async fn a_crashed_instance_is_taken_over_after_the_expiry_and_not_before() {
    for store in [FaultyStore::new(), FaultyStore::with_clock()] {
        let mut fleet = Fleet::new(&store, 8);
        fleet.start("a");
        fleet.start("b");
        fleet.settle(2 * INTERVAL).await;
        sleep(60 * SECOND).await;
        fleet.kill("a");
        fleet.settle(EXPIRY + 2 * PAUSE).await;

        let changes = store.script().changes.clone();
        let taken = changes
            .iter()
            .rev()
            .take_while(|change| change.before != Some(owner("a")) || change.after != change.before);
        let taken: Vec<_> = taken.filter(|change| change.before == Some(owner("a"))).collect();
        assert_eq!(taken.len(), 4);
        for takeover in taken {
            let renewals = changes.iter().filter(|change| change.partition == takeover.partition);
            let renewed =
                renewals.filter(|change| change.after == Some(owner("a"))).map(|change| change.at).max();
            let waited = takeover.at - renewed.expect("it was owned");
            assert!((EXPIRY..=EXPIRY + 2 * PAUSE).contains(&waited), "{waited:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_store_clock_a_newcomer_takes_expired_records_at_once() {
    let mut fleet = Fleet::new(&FaultyStore::with_clock(), 8);
    fleet.start("a");
    fleet.settle(INTERVAL).await;
    fleet.kill("a");
    sleep(EXPIRY).await;
    fleet.start("b");
    fleet.settle(INTERVAL).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_stopped_instance_released_is_taken_in_the_next_round() {
    let mut fleet = Fleet::new(&FaultyStore::new(), 8);
    fleet.start("a");
    fleet.start("b");
    fleet.settle(2 * INTERVAL).await;
    sleep(60 * SECOND).await;
    fleet.stop("a").await;
    fleet.settle(PAUSE).await;
    assert_eq!(fleet.shares().await, BTreeMap::from([(Some(owner("b")), 8)]));
}

#[tokio::test(start_paused = true)]
async fn a_settled_fleet_is_calm_for_a_hundred_rounds() {
    for (instances, count) in [(1, 4), (2, 8), (3, 8), (5, 32), (8, 32), (8, 5)] {
        let store = FaultyStore::new();
        let mut fleet = Fleet::new(&store, count);
        for number in 0..instances {
            fleet.start(&format!("instance-{number}"));
        }
        fleet.settle(10 * INTERVAL).await;
        sleep(INTERVAL).await;
        let moves = store.moves().len();
        sleep(100 * PAUSE).await;
        assert_eq!(store.moves().len(), moves, "{instances} instances, {count} partitions");
    }
}

/// docs/stores.md has these numbers, for each instance of three, with 32 partitions and the default interval.
#[tokio::test(start_paused = true)]
async fn a_fleet_at_rest_announces_nothing_and_costs_what_is_documented() {
    const HOUR: Duration = Duration::from_secs(3600);
    let store = FaultyStore::with_clock();
    let mut fleet = Fleet::new(&store, 32);
    for name in ["a", "b", "c"] {
        fleet.start(name);
    }
    fleet.settle(6 * INTERVAL).await;
    sleep(EXPIRY).await;
    let listed = store.script().listed;
    store.script().changes.clear();
    sleep(HOUR).await;

    let listed = store.script().listed - listed;
    let changes = store.script().changes.clone();
    assert!(changes.iter().all(|change| change.announces_to.is_none()), "0 hints");
    assert!(changes.iter().all(|change| change.before == change.after), "renewals only");
    // No time passes within a round here.
    let rounds: BTreeSet<_> = changes.iter().map(|change| (change.at, change.after.clone())).collect();
    let [listings, renewals, rounds] = [listed, changes.len(), rounds.len()].map(|number| number / 3);
    println!("{listings} listings, {renewals} renewals in {rounds} rounds");
    assert!((850..=950).contains(&listings), "{listings} listings");
    assert!((1400..=1550).contains(&renewals), "{renewals} renewals");
    assert!((130..=200).contains(&rounds), "renewals in {rounds} rounds");
}

#[tokio::test(start_paused = true)]
async fn fleets_settle_after_a_cold_start_a_join_a_crash_and_a_leave() {
    for (instances, count) in [(2, 32), (4, 32), (7, 40), (20, 16)] {
        let store = FaultyStore::new();
        store.script().lists = Some(Fault::Slow(SECOND / 50));
        store.script().claims = Some(Fault::Slow(SECOND / 50));
        let mut fleet = Fleet::new(&store, count);
        for number in 0..instances {
            fleet.start(&format!("instance-{number}"));
        }
        fleet.settle(6 * INTERVAL).await;
        fleet.start("late");
        fleet.settle(6 * INTERVAL).await;
        fleet.kill("instance-0");
        fleet.settle(EXPIRY + 6 * INTERVAL).await;
        fleet.stop("instance-1").await;
        fleet.settle(6 * INTERVAL).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_limited_instance_leaves_is_read_by_the_others_in_even_shares() {
    for strategy in [Strategy::Balanced, Strategy::Greedy, Strategy::Adaptive] {
        let mut fleet = Fleet::new(&FaultyStore::new(), 20);
        fleet.settings = settings(strategy);
        let two = NonZeroUsize::new(2).expect("not zero");
        fleet.start_with("limited", &settings(strategy).with_max_partitions(two));
        fleet.start("a");
        fleet.start("b");
        sleep(25 * INTERVAL).await;
        assert_eq!(fleet.owned_by(["limited", "a", "b"]).await, ([2, 9, 9], 0), "{strategy:?}");
        let moves = fleet.store.moves().len();
        sleep(100 * PAUSE).await;
        assert_eq!(fleet.store.moves().len(), moves, "{strategy:?}: it is calm");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_peer_that_only_renews_does_not_take_is_soon_read_by_others() {
    let store = FaultyStore::new();
    let mut fleet = Fleet::new(&store, 12);
    for name in ["a", "b", "passive"] {
        fleet.start(name);
    }
    fleet.settle(6 * INTERVAL).await;
    sleep(10 * INTERVAL).await;
    // From now on it renews and takes nothing, as one that is stopped or in its pause after an outage.
    let held = records(&store).await.into_iter().filter(|record| record.owner == Some(owner("passive")));
    let held: Vec<_> = held.map(|record| record.partition).collect();
    fleet.kill("passive");
    let renewing = {
        let (store, held) = (Arc::clone(&store), held.clone());
        tokio::spawn(async move {
            loop {
                for partition in &held {
                    overwrite(&*store, partition, Some("passive")).await;
                }
                sleep(INTERVAL).await;
            }
        })
    };
    fleet.kill("b");
    sleep(EXPIRY + 6 * INTERVAL).await;
    assert_eq!(fleet.owned_by(["a", "passive"]).await, ([8, 4], 0));

    // It comes back to life, and gets its share.
    renewing.abort();
    fleet.start("passive");
    sleep(10 * INTERVAL).await;
    assert_eq!(fleet.owned_by(["a", "passive"]).await, ([6, 6], 0));
}
