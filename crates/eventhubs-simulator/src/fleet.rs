//! The instances of a run: joins, crashes, leaves, deploys, and their clocks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use eventhubs_load_balancer::Settings;
use eventhubs_types::PartitionId;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::claim::InstanceId;
use crate::instance::{self, Player};
use crate::ledger::Ledger;
use crate::peer::{self, Kind, Skew};
use crate::scenario::{Action, Clocks, Scenario, StoreModel, seconds};
use crate::store::{Handle, World, partition};

/// The instances, and what happens to them.
pub(crate) struct Fleet {
    world: Arc<World>,
    kinds: Vec<Kind>,
    settings: Settings,
    clocks: Clocks,
    partitions: Arc<[PartitionId]>,
    rng: StdRng,
    started: usize,
    running: BTreeMap<InstanceId, Running>,
}

struct Running {
    task: JoinHandle<()>,
    stop: oneshot::Sender<bool>,
}

impl Fleet {
    pub(crate) fn new(scenario: &Scenario, settings: Settings, world: &Arc<World>, seed: u64) -> Self {
        Self {
            world: Arc::clone(world),
            kinds: scenario.fleet.clone(),
            settings,
            clocks: scenario.clocks,
            partitions: (0..scenario.partitions).map(partition).collect(),
            rng: StdRng::seed_from_u64(seed),
            started: 0,
            running: BTreeMap::new(),
        }
    }

    pub(crate) fn start(&mut self, count: usize, over: Duration) {
        for _ in 0..count {
            let number = self.started;
            self.started += 1;
            let (stop, stopped) = oneshot::channel();
            let player = Player {
                store: Handle { world: Arc::clone(&self.world), instance: number },
                partitions: Arc::clone(&self.partitions),
                settings: self.settings.clone(),
                seed: self.rng.random(),
                start_after: over.mul_f64(self.rng.random_range(0.0..=1.0)),
                stop: stopped,
            };
            let task = match self.kinds[number % self.kinds.len()] {
                Kind::Ours => tokio::spawn(instance::play(player)),
                kind => tokio::spawn(peer::play(player, kind, skew(self.clocks, number))),
            };
            self.running.insert(number, Running { task, stop });
        }
    }

    /// Lets it happen, and returns when it has.
    pub(crate) async fn act(&mut self, action: Action, usual: StoreModel) {
        match action {
            Action::Join { fraction, over_s } => {
                self.start(self.count(fraction), seconds(over_s));
                sleep(seconds(over_s)).await;
            }
            Action::Crash { fraction } => self.crash(self.count(fraction)),
            Action::Leave { fraction, over_s, offers } => {
                self.leave(self.count(fraction), seconds(over_s), offers).await;
            }
            Action::Deploy { fraction, every_s, overlap_s, offers } => {
                self.deploy(fraction, seconds(every_s), seconds(overlap_s), offers).await;
            }
            Action::Store { for_s, model } => {
                self.world.set_model(model);
                sleep(seconds(for_s)).await;
                self.world.set_model(usual);
                self.world.ledger(Ledger::disturb);
            }
        }
    }

    fn count(&self, fraction: f64) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a part of a fleet is as small as the fleet"
        )]
        let count = (self.running.len() as f64 * fraction).round() as usize;
        count.max(usize::from(fraction > 0.0))
    }

    fn choose(&mut self, count: usize) -> Vec<InstanceId> {
        let mut chosen = self.running.keys().copied().sample(&mut self.rng, count);
        chosen.sort_unstable();
        chosen
    }

    fn crash(&mut self, count: usize) {
        for number in self.choose(count) {
            let running = self.running.remove(&number).expect("it was chosen of the running ones");
            running.task.abort();
            self.world.ledger(|ledger, now| ledger.end(number, now));
        }
    }

    /// Each stops at a random moment of that time.
    async fn leave(&mut self, count: usize, over: Duration, offers: bool) {
        let begun = Instant::now();
        let chosen = self.choose(count);
        let mut times: Vec<_> = chosen
            .into_iter()
            .map(|number| (over.mul_f64(self.rng.random_range(0.0..=1.0)), number))
            .collect();
        times.sort_unstable();
        for (after, number) in times {
            sleep_until(begun + after).await;
            self.stop(number, offers);
        }
        sleep_until(begun + over).await;
    }

    fn stop(&mut self, number: InstanceId, offers: bool) {
        let running = self.running.remove(&number).expect("it was chosen of the running ones");
        self.world.ledger(|ledger, now| ledger.depart(number, now));
        // It continues in its task until it has released all; one that ended already has nothing to stop.
        let _ = running.stop.send(offers);
    }

    async fn deploy(&mut self, fraction: f64, every: Duration, overlap: Duration, offers: bool) {
        let group = self.count(fraction);
        let mut old: Vec<_> = self.running.keys().copied().collect();
        while !old.is_empty() {
            let begun = Instant::now();
            let leaving = old.split_off(old.len().saturating_sub(group));
            self.start(leaving.len(), overlap / 2);
            sleep(overlap).await;
            self.world.ledger(Ledger::disturb);
            for number in leaving {
                self.stop(number, offers);
            }
            if !old.is_empty() {
                sleep_until(begun + every).await;
            }
        }
    }
}

/// Skewed instances are spread evenly over the fleet, in turn ahead and behind.
fn skew(clocks: Clocks, number: InstanceId) -> Skew {
    #[expect(clippy::cast_precision_loss, reason = "a fleet is small")]
    let skewed = |count: usize| (count as f64 * clocks.fraction).floor();
    let is_skewed = skewed(number + 1) > skewed(number);
    Skew {
        by: if is_skewed { seconds(clocks.skew_s) } else { Duration::ZERO },
        is_ahead: skewed(number) % 2.0 == 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skewed_clocks_are_as_many_as_asked_for_and_in_turn_ahead_and_behind() {
        let clocks = Clocks { skew_s: 90.0, fraction: 0.1 };
        let skews = (0..1000).map(|number| skew(clocks, number));
        let skewed: Vec<_> = skews.filter(|skew| !skew.by.is_zero()).collect();
        let ahead = skewed.iter().filter(|skew| skew.is_ahead).count();
        assert_eq!((skewed.len(), ahead), (100, 50));
    }
}
