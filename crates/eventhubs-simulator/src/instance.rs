use std::sync::Arc;
use std::time::Duration;

use eventhubs_load_balancer::{Balancer, Round, Settings};
use eventhubs_types::{ConsumerScope, PartitionId};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::store::{Handle, index, owner, partition};

/// What every instance is given, ours and the modelled ones.
pub(crate) struct Player {
    pub(crate) store: Handle,
    pub(crate) partitions: Arc<[PartitionId]>,
    pub(crate) settings: Settings,
    pub(crate) seed: u64,
    pub(crate) start_after: Duration,
    /// Resolves when it shall stop gracefully.
    pub(crate) stop: oneshot::Receiver<()>,
}

/// Plays an instance of ours: the real balancer, called as the processor calls it.
pub(crate) async fn play(mut player: Player) {
    sleep(player.start_after).await;
    player.join();
    let mut balancer = player.balancer();
    let mut delay = balancer.first_delay();
    while timeout(delay, &mut player.stop).await.is_err() {
        player.forget_stolen(&mut balancer);
        let round = balancer.round(&player.partitions).await;
        player.follow(&round);
        delay = balancer.next_delay();
    }
    player.leave(balancer).await;
}

/// The group is the same in all runs: nothing depends on its name.
pub(crate) fn scope() -> ConsumerScope {
    ConsumerScope {
        namespace: "contoso.servicebus.windows.net".parse().expect("a valid namespace"),
        event_hub: "orders".parse().expect("a valid event hub"),
        consumer_group: "$Default".parse().expect("a valid consumer group"),
    }
}

impl Player {
    fn balancer(&self) -> Balancer {
        Balancer::new(
            Arc::new(self.store.clone()),
            scope(),
            owner(self.store.instance),
            self.settings.clone(),
            StdRng::seed_from_u64(self.seed),
        )
    }

    pub(crate) fn join(&self) {
        self.store.world.ledger(|ledger, now| ledger.join(self.store.instance, now));
    }

    pub(crate) fn attach(&self, id: &PartitionId) {
        let instance = self.store.instance;
        self.store.world.ledger(|ledger, now| ledger.attach(instance, index(id), now));
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

    /// The reader of a stolen link ends at once, and the processor tells the balancer.
    fn forget_stolen(&self, balancer: &mut Balancer) {
        for stolen in self.take_stolen() {
            balancer.forget(&stolen);
        }
    }

    fn follow(&self, round: &Round) {
        for (lost, _) in &round.lost {
            self.detach(lost);
        }
        for acquired in &round.acquired {
            self.attach(acquired);
        }
    }

    async fn leave(&self, mut balancer: Balancer) {
        let owned: Vec<_> = balancer.owned().cloned().collect();
        for partition in &owned {
            self.detach(partition);
        }
        balancer.release(&owned).await;
    }
}
