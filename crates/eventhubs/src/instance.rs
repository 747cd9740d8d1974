//! What the client and its runs share: one member of a consumer group, with the service and the store that it
//! works against. It is below the client, so that a run knows its instance without knowing how users build
//! it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eventhubs_amqp::{EventHubClient, EventHubProperties, PartitionProperties};
use eventhubs_load_balancer::Settings;
use eventhubs_types::{ConsumerScope, OwnerId, PartitionId};
use futures::FutureExt as _;
use tokio::time::Instant;

use crate::ambient::entropy;
use crate::board::{Board, Stage};
use crate::guarded_store::GuardedStore;
use crate::observe::Observation;
use crate::observers::Observers;
use crate::pacing::Pacing;
use crate::{Error, Result, RetryPolicy};

/// One member of a consumer group.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) hub: EventHubClient,
    pub(crate) scope: ConsumerScope,
    pub(crate) store: Arc<GuardedStore>,
    pub(crate) owner: OwnerId,
    pub(crate) balancing: Settings,
    pub(crate) retry: RetryPolicy,
    pub(crate) readings: Readings,
    pub(crate) board: Arc<Board>,
    pub(crate) observers: Observers,
}

/// What the runs of one client are reading: a partition, or with `None` what the balancer assigns. Two
/// balanced runs would claim under one owner id and take each other for a twin.
#[derive(Debug, Default)]
pub(crate) struct Readings(Mutex<BTreeSet<Option<PartitionId>>>);

impl Instance {
    /// Returns the pauses between attempts of one thing, under the user's retry policy.
    pub(crate) fn pacing(&self) -> Pacing {
        Pacing::new(self.retry.clone(), entropy())
    }

    /// Asks the service about the event hub.
    pub(crate) async fn event_hub_properties(&self) -> Result<EventHubProperties> {
        let begun = Instant::now();
        let properties = self.hub.event_hub_properties().await;
        let properties =
            properties.map_err(|source| Error::amqp("the event hub could not be looked up", source));
        self.looked_up("get_event_hub_properties", None, begun, properties.as_ref().err());
        properties
    }

    /// Asks the service about a partition; `failure` is the text of an error.
    pub(crate) async fn partition_properties(
        &self,
        partition: &PartitionId,
        failure: &'static str,
    ) -> Result<PartitionProperties> {
        let begun = Instant::now();
        // Boxed, as it is large and rare: it would make the task of each partition larger.
        let properties = self.hub.partition_properties(partition).boxed().await;
        let properties = properties.map_err(|source| Error::amqp(failure, source).on_partition(partition));
        self.looked_up("get_partition_properties", Some(partition), begun, properties.as_ref().err());
        properties
    }

    fn looked_up(
        &self,
        operation: &'static str,
        partition: Option<&PartitionId>,
        begun: Instant,
        error: Option<&Error>,
    ) {
        let duration = begun.elapsed();
        self.observers.observe(&Observation::Lookup { operation, partition, duration, error });
    }

    /// Marks that this instance reads the partition, or all of them, until the guard is dropped.
    ///
    /// # Errors
    /// When it reads them already.
    pub(crate) fn begin(self: &Arc<Self>, partition: Option<PartitionId>) -> Result<Reading> {
        if !self.readings.lock().insert(partition.clone()) {
            return Err(Error::invalid("receive: this client is already receiving the same partitions"));
        }
        self.board.set_stage(partition.as_ref(), Stage::Starting);
        Ok(Reading { instance: Arc::clone(self), partition })
    }
}

impl Readings {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<Option<PartitionId>>> {
        // An insert or a removal is one step, so a panic elsewhere cannot have left it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While this lives, the instance reads these partitions and refuses to read them a second time.
#[derive(Debug)]
pub(crate) struct Reading {
    instance: Arc<Instance>,
    partition: Option<PartitionId>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.instance.readings.lock().remove(&self.partition);
        self.instance.board.run_ended(self.partition.as_ref());
    }
}
