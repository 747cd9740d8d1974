//! One simulated eventhubs instance: the real balancer, called as the processor calls it.

use std::sync::Arc;
use std::time::Duration;

use eventhubs_load_balancer::defaults::DEFAULT_OFFER_TIMEOUT;
use eventhubs_load_balancer::{Balancer, Round, Settings};
use eventhubs_types::{ConsumerScope, PartitionId};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::store::{Handle, index, owner, partition};

/// How long a reader is at work on what it has when it is to end.
const CALLBACK: Duration = Duration::from_millis(50);

/// What every instance is given, ours and the modelled ones.
pub(crate) struct Player {
    pub(crate) store: Handle,
    pub(crate) partitions: Arc<[PartitionId]>,
    pub(crate) settings: Settings,
    pub(crate) seed: u64,
    pub(crate) start_after: Duration,
    /// Resolves when it shall stop gracefully, and says whether it is to offer its partitions first.
    pub(crate) stop: oneshot::Receiver<bool>,
}

/// Plays an eventhubs instance: the real balancer, called as the processor calls it.
pub(crate) async fn play(player: Player) {
    sleep(player.start_after).await;
    player.join();
    Instance::new(player).run().await;
}

/// What the processor is in the real one: it keeps the readers equal to what the balancer owns.
struct Instance {
    player: Player,
    balancer: Balancer,
    theft_signal: Arc<Notify>,
    /// Readers that wait until the owner before has handed over.
    waiting: JoinSet<PartitionId>,
    /// Readers that end what they are at, for others wait for it.
    ending: JoinSet<PartitionId>,
    leaves_by: Option<Instant>,
}

impl Instance {
    fn new(player: Player) -> Self {
        Self {
            balancer: player.balancer(),
            theft_signal: player.theft_signal(),
            player,
            waiting: JoinSet::new(),
            ending: JoinSet::new(),
            leaves_by: None,
        }
    }

    async fn run(mut self) {
        let mut next_round = Instant::now() + self.balancer.first_delay(self.player.partitions.len());
        while !self.has_left() {
            tokio::select! {
                // In a fixed order, or the same seed would not give the same run.
                biased;
                offers = &mut self.player.stop, if self.leaves_by.is_none() => {
                    let pause = self.begin_to_leave(offers.unwrap_or(false));
                    // Never later than the round that was due, which may have to renew leases.
                    next_round = next_round.min(Instant::now() + pause);
                }
                Some(Ok(partition)) = self.ending.join_next() => {
                    self.balancer.hand_over(&[partition]).await;
                }
                Some(Ok(partition)) = self.waiting.join_next() => self.begin_to_read(&partition),
                () = self.theft_signal.notified() => self.answer_theft().await,
                () = sleep_until(next_round) => {
                    let round = self.balancer.round(&self.player.partitions).await;
                    self.follow(&round);
                    next_round = Instant::now() + self.balancer.next_delay();
                }
            }
        }
        self.leave().await;
    }

    /// Gives the time to wait before the first round of leaving.
    fn begin_to_leave(&mut self, offers: bool) -> Duration {
        self.leaves_by = Some(Instant::now() + if offers { DEFAULT_OFFER_TIMEOUT } else { Duration::ZERO });
        self.balancer.leave()
    }

    fn has_left(&self) -> bool {
        let has_nothing = || self.balancer.owned().next().is_none() && self.ending.is_empty();
        self.leaves_by
            .is_some_and(|limit| Instant::now() >= limit || !self.balancer.is_offering() || has_nothing())
    }

    /// Readers whose links were stolen: what nobody waits for is forgotten.
    async fn answer_theft(&mut self) {
        let stolen = self.player.take_stolen();
        let look = self.balancer.look(&self.player.partitions).await;
        self.follow(&look);
        for partition in stolen.iter().filter(|partition| !look.asked.contains(partition)) {
            self.balancer.forget(partition);
        }
    }

    fn follow(&mut self, round: &Round) {
        for (lost, _) in &round.lost {
            self.player.detach(lost);
        }
        for acquired in &round.acquired {
            self.open(acquired);
        }
        for asked in round.asked.iter().cloned() {
            self.player.detach(&asked);
            self.ending.spawn(async {
                sleep(CALLBACK).await;
                asked
            });
        }
    }

    fn open(&mut self, partition: &PartitionId) {
        match self.balancer.lease(partition) {
            Some(mut lease) if !lease.is_settled() => {
                self.player.cut_off(partition);
                let partition = partition.clone();
                let limit = self.player.settings.interval();
                self.waiting.spawn(async move {
                    // A limit, as the reader of a real instance has one.
                    let _ = timeout(limit, lease.handed_over()).await;
                    partition
                });
            }
            _ => self.player.attach(partition),
        }
    }

    /// What was lost while the reader waited is not read.
    fn begin_to_read(&self, partition: &PartitionId) {
        if self.balancer.lease(partition).is_some() {
            self.player.attach(partition);
        }
    }

    async fn leave(mut self) {
        let owned: Vec<_> = self.balancer.owned().cloned().collect();
        for partition in &owned {
            self.player.detach(partition);
        }
        while let Some(Ok(partition)) = self.ending.join_next().await {
            self.balancer.hand_over(&[partition]).await;
        }
        self.balancer.release(&owned).await;
    }
}

/// The group is the same in all runs: nothing depends on its name.
pub(crate) fn scope() -> ConsumerScope {
    ConsumerScope::new(
        "contoso.servicebus.windows.net".parse().expect("a valid namespace"),
        "orders".parse().expect("a valid event hub"),
        "$Default".parse().expect("a valid consumer group"),
    )
}

impl Player {
    fn balancer(&self) -> Balancer {
        Balancer::new(
            Arc::new(self.store.clone()),
            scope(),
            owner(self.store.instance),
            self.settings.clone(),
            self.seed,
        )
    }

    pub(crate) fn join(&self) {
        self.store.world.ledger(|ledger, now| ledger.join(self.store.instance, now));
    }

    pub(crate) fn attach(&self, id: &PartitionId) {
        let instance = self.store.instance;
        self.store.world.ledger(|ledger, now| ledger.attach(instance, index(id), now));
    }

    /// Takes the link from the reader before, and reads nothing yet.
    fn cut_off(&self, id: &PartitionId) {
        let instance = self.store.instance;
        self.store.world.ledger(|ledger, now| ledger.cut_off(instance, index(id), now));
    }

    /// Is notified when the broker has cut a link.
    fn theft_signal(&self) -> Arc<Notify> {
        self.store.world.ledger(|ledger, _| ledger.theft_signal(self.store.instance))
    }

    pub(crate) fn detach(&self, id: &PartitionId) {
        let instance = self.store.instance;
        self.store.world.ledger(|ledger, now| ledger.detach(instance, index(id), now));
    }

    pub(crate) fn take_stolen(&self) -> Vec<PartitionId> {
        let instance = self.store.instance;
        let stolen = self.store.world.ledger(|ledger, _| ledger.take_stolen(instance));
        stolen.into_iter().map(partition).collect()
    }
}
