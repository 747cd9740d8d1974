//! The client that users build, and its options. It does no I/O: a run begins in `runner.rs`.

use std::fmt;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use eventhubs_amqp::{
    ConnectionOptions, EventHubClient, EventHubClientBuilder, EventHubProperties, PartitionProperties,
    ReceivedEvent, TokenCredential,
};
use eventhubs_checkpoint_store::{CheckpointStore, MemoryCheckpointStore};
use eventhubs_load_balancer::{Assignment, Settings, Strategy};
use eventhubs_types::{ConsumerGroup, ConsumerScope, InvalidName, Namespace, OwnerId, PartitionId};
use rand::RngExt as _;

use crate::ambient::entropy;
use crate::board::Board;
use crate::guarded_store::GuardedStore;
use crate::instance::{Instance, Readings};
use crate::observe::Observer;
use crate::observers::Observers;
use crate::receive::{Batches, Events, Receive};
use crate::snapshot::snapshot;
use crate::status::StatusReader;
use crate::{Error, HandlerResult, PartitionContext, Result, RetryPolicy, Status, defaults};

/// Reads an event hub as one instance of a consumer group. Cheap to clone; nothing is contacted before it is
/// used.
#[derive(Debug, Clone)]
pub struct ConsumerClient {
    instance: Arc<Instance>,
}

impl ConsumerClient {
    /// Returns a builder for a client that authenticates with a connection string, which names the event hub
    /// in its `EntityPath`, as a member of a consumer group, for example `$Default`.
    /// [`build`](ConsumerClientBuilder::build) checks both.
    pub fn builder(
        connection_string: impl AsRef<str>,
        consumer_group: impl AsRef<str>,
    ) -> ConsumerClientBuilder {
        let connection_string = connection_string.as_ref().parse();
        ConsumerClientBuilder::new(connection_string.map(EventHubClient::builder), consumer_group.as_ref())
    }

    /// Returns a builder for a client that authenticates with the tokens of a credential, such as a managed
    /// identity. `namespace` is the whole host name, for example `contoso.servicebus.windows.net`.
    /// [`build`](ConsumerClientBuilder::build) checks the names.
    pub fn builder_with_credential(
        namespace: impl AsRef<str>,
        event_hub: impl AsRef<str>,
        consumer_group: impl AsRef<str>,
        credential: impl TokenCredential + 'static,
    ) -> ConsumerClientBuilder {
        let hub = EventHubClient::with_credential(namespace, event_hub, credential);
        ConsumerClientBuilder::new(Ok(hub), consumer_group.as_ref())
    }

    /// Returns a client for another consumer group of the same event hub. It shares the connection and the store with
    /// this one, and has the same owner id and options; both may receive at the same time.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let emulator = Emulator::builder().event_hub("orders", 2).consumer_group("orders", "audit").start().await?;
    /// # emulator.publish("orders", ["tea"])?; let client = client(&emulator.connection_string("orders"))?;
    /// let audit = client.for_consumer_group("audit")?;
    /// let (billed, audited) = tokio::join!(
    ///     client.receive(handle).starting_position(StartingPosition::Earliest).until(Until::now()).into_future(),
    ///     audit.receive(handle).starting_position(StartingPosition::Earliest).until(Until::now()).into_future(),
    /// );
    /// assert_eq!((billed?.handled(), audited?.handled()), (1, 1));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) when the name cannot be used. Whether the group exists shows
    /// when it receives.
    pub fn for_consumer_group(&self, consumer_group: impl AsRef<str>) -> Result<Self> {
        let consumer_group = ConsumerGroup::new(consumer_group)?;
        if consumer_group.as_str().eq_ignore_ascii_case(self.instance.scope.consumer_group.as_str()) {
            // Two instances of one group would need two owner ids.
            return Ok(self.clone());
        }
        let Instance { hub, scope, store, owner, balancing, retry, observers, .. } = &*self.instance;
        let board = Arc::new(Board::new());
        let scope = ConsumerScope::new(scope.namespace.clone(), scope.event_hub.clone(), consumer_group);
        let observers = observers.of(scope.clone());
        let instance = Instance {
            hub: hub.clone(),
            scope,
            store: Arc::new(store.observed_by(&board, &observers)),
            owner: owner.clone(),
            balancing: balancing.clone(),
            retry: retry.clone(),
            readings: Readings::default(),
            board,
            observers,
        };
        Ok(Self::started(instance))
    }

    fn started(instance: Instance) -> Self {
        let client = Self { instance: Arc::new(instance) };
        client.instance.observers.started(&client.status_reader());
        client
    }

    /// Returns what the client is at: its partitions with position, checkpoint and lag, its rounds, and whether the store
    /// answers. Cheap: it waits for nothing and asks nobody.
    ///
    /// For the [lag](crate::status::PartitionStatus::lag), the client asks the service for the newest event of each
    /// partition that it reads: up to four requests a second, at most every 30 seconds for each, and only while somebody
    /// reads the status. So it is not known in the first status. With
    /// [`track_last_enqueued_event_properties`](Receive::track_last_enqueued_event_properties) the events bring it.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?; let client = client(&connection_string)?;
    /// let status = client.status();
    /// for partition in &status.partitions {
    ///     println!("{}: {:?} at {:?}", partition.partition, partition.state, partition.position);
    /// }
    /// assert!(status.is_alive());
    /// # Ok(()) }
    /// ```
    pub fn status(&self) -> Status {
        snapshot(&self.instance)
    }

    /// Returns what reads the [`status`](Self::status) without keeping the client alive, for a task that serves it.
    pub fn status_reader(&self) -> StatusReader {
        let instance = Arc::downgrade(&self.instance);
        StatusReader::new(move || instance.upgrade().map(|instance| snapshot(&instance)))
    }

    /// Switches to the key in another connection string, so that keys can be rotated while receiving
    /// continues.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) when it cannot be read, when it is for another
    /// namespace, or when this client authenticates with a credential.
    pub fn update_connection_string(&self, connection_string: impl AsRef<str>) -> Result<()> {
        Ok(self.instance.hub.update_connection_string(&connection_string.as_ref().parse()?)?)
    }

    /// Receives events, one per call. Calls for one partition never overlap and are in order; calls for
    /// different partitions run at the same time.
    ///
    /// When the callback fails, the error is reported, and after a growing pause the callback is called again with the same
    /// event; other partitions continue. [`on_failure`](Receive::on_failure) says what else may become of the event. When
    /// the callback panics, its partition is read again from its checkpoint.
    ///
    /// A callback must not block its thread: what it does takes place on the workers of the runtime, which
    /// also read the other partitions and renew their leases. Call what blocks by
    /// [`tokio::task::spawn_blocking`] and await that. A callback that has not given its thread back for 5
    /// seconds is logged as a warning with its partition and sequence number.
    ///
    /// Await the [`Receive`], or run it as a task: it is an [`IntoFuture`](std::future::IntoFuture), which
    /// `tokio::spawn` does not take by itself.
    ///
    /// ```
    /// # use eventhubs::ConsumerClient;
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let emulator = eventhubs_emulator::Emulator::builder().event_hub("orders", 1).start().await?;
    /// # let client = ConsumerClient::builder(emulator.connection_string("orders"), "$Default").build()?;
    /// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    /// let receive = client.receive(|context, event| async move {
    ///     context.update_checkpoint(&event).await?;
    ///     Ok(())
    /// });
    /// let running = tokio::spawn(receive.with_graceful_shutdown(stopped).into_future());
    /// // the rest of the program
    /// drop(stop);
    /// running.await??;
    /// # Ok(())
    /// # }
    /// ```
    pub fn receive<F, Fut>(&self, on_event: F) -> Receive<Events>
    where
        F: Fn(PartitionContext, ReceivedEvent) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        Receive::each(Arc::clone(&self.instance), on_event)
    }

    /// Receives events in batches; otherwise like [`receive`](Self::receive).
    pub fn receive_batch<F, Fut>(&self, on_batch: F) -> Receive<Batches>
    where
        F: Fn(PartitionContext, Vec<ReceivedEvent>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        Receive::batches(Arc::clone(&self.instance), on_batch)
    }

    /// Asks the service about the event hub.
    ///
    /// # Errors
    /// When the service refuses, or cannot be reached after the retries.
    ///
    /// # Cancel safety
    /// Can be dropped at any time.
    pub async fn event_hub_properties(&self) -> Result<EventHubProperties> {
        self.instance.event_hub_properties().await
    }

    /// Asks the service about a partition.
    ///
    /// # Errors
    /// When the service refuses, or cannot be reached after the retries.
    ///
    /// # Cancel safety
    /// Can be dropped at any time.
    pub async fn partition_properties(&self, partition: &PartitionId) -> Result<PartitionProperties> {
        self.instance.partition_properties(partition, "the partition could not be looked up").await
    }

    /// The id under which this instance owns partitions.
    pub fn owner_id(&self) -> &OwnerId {
        &self.instance.owner
    }

    /// Closes the connection to the service for good, also for clients of [other
    /// groups](Self::for_consumer_group) that share it. Runs that are still going end with
    /// [`Closed`](crate::ErrorKind::Closed) and release their partitions; stop them first.
    ///
    /// # Cancel safety
    /// If dropped, the connection is either closed or still open.
    pub async fn close(&self) {
        self.instance.hub.close().await;
    }
}

/// Builds a [`ConsumerClient`].
#[must_use]
pub struct ConsumerClientBuilder {
    /// What is wrong with the connection string or a name is told by `build`, so that a chain of options has
    /// one `?`.
    hub: eventhubs_amqp::Result<EventHubClientBuilder>,
    consumer_group: std::result::Result<ConsumerGroup, InvalidName>,
    store: Option<Arc<dyn CheckpointStore>>,
    namespace: Option<Namespace>,
    owner: Option<OwnerId>,
    strategy: Option<Strategy>,
    interval: Duration,
    expiry: Duration,
    assignment: Assignment,
    max_partitions: Option<NonZeroUsize>,
    retry: RetryPolicy,
    observers: Vec<Arc<dyn Observer>>,
}

impl ConsumerClientBuilder {
    fn new(hub: eventhubs_amqp::Result<EventHubClientBuilder>, consumer_group: &str) -> Self {
        Self {
            hub,
            consumer_group: ConsumerGroup::new(consumer_group),
            store: None,
            namespace: None,
            owner: None,
            strategy: None,
            interval: defaults::LOAD_BALANCING_INTERVAL,
            expiry: defaults::PARTITION_OWNERSHIP_EXPIRATION_INTERVAL,
            assignment: Assignment::default(),
            max_partitions: None,
            retry: RetryPolicy::default(),
            observers: Vec::new(),
        }
    }

    /// Sets the event hub, when the connection string has no `EntityPath`. [`build`](Self::build) checks the
    /// name.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?;
    /// let client = ConsumerClient::builder(connection_string, "$Default")
    ///     .event_hub("orders")
    ///     .build()?;
    /// # read(client.receive(handle)).await }
    /// ```
    pub fn event_hub(mut self, name: impl AsRef<str>) -> Self {
        self.hub = self.hub.map(|hub| hub.event_hub(name));
        self
    }

    /// How the service is reached: in a WebSocket, through a proxy, by another endpoint, by several
    /// connections.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?;
    /// let options = ConnectionOptions::new().connections(2.try_into()?);
    /// let client = ConsumerClient::builder(connection_string, "$Default")
    ///     .connection(options)
    ///     .build()?;
    /// # read(client.receive(handle)).await }
    /// ```
    pub fn connection(mut self, options: ConnectionOptions) -> Self {
        self.hub = self.hub.map(|hub| hub.connection(options));
        self
    }

    /// Talks to an emulator, without TLS. A connection string says so itself.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (emulator, _) = orders().await?; let namespace = format!("localhost:{}", emulator.address().port());
    /// let builder = ConsumerClient::builder_with_credential(namespace, "orders", "$Default", Sidecar);
    /// let client = builder.use_development_emulator().build()?;
    /// # read(client.receive(handle)).await }
    /// ```
    pub fn use_development_emulator(mut self) -> Self {
        self.hub = self.hub.map(EventHubClientBuilder::use_development_emulator);
        self
    }

    /// Where the instances agree on ownership and progress.
    ///
    /// Without one, the client keeps both in its own memory: nothing is shared with other instances, and
    /// nothing survives the process.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?;
    /// use std::sync::Arc;
    ///
    /// // Instances in one process may share it; `eventhubs-checkpoint-store-blob` is for several processes.
    /// let store = Arc::new(MemoryCheckpointStore::new());
    /// let client = ConsumerClient::builder(connection_string, "$Default")
    ///     .checkpoint_store(Arc::clone(&store))
    ///     .build()?;
    /// # read(client.receive(handle)).await }
    /// ```
    pub fn checkpoint_store(mut self, store: impl CheckpointStore) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// The id under which this instance owns partitions. Default: random.
    ///
    /// With an id that stays the same over a restart, the name of a pod for example, an instance that crashed
    /// continues with its partitions at once, and others need not take them over. Two live instances must
    /// never share one: the one that began later finds out within a few rounds, and its run ends with
    /// [`OwnerIdInUse`](crate::ErrorKind::OwnerIdInUse).
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?;
    /// let client = ConsumerClient::builder(connection_string, "$Default")
    ///     .owner_id("orders-7f9c".parse()?)
    ///     .build()?;
    /// # read(client.receive(handle)).await }
    /// ```
    pub fn owner_id(mut self, owner: OwnerId) -> Self {
        self.owner = Some(owner);
        self
    }

    /// The namespace under which ownership and checkpoints are kept, when it is not the host of the
    /// connection string: for a private endpoint, or together with instances that name it otherwise. The
    /// Python SDK, for one, keeps the port of an emulator in the name.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?;
    /// let client = ConsumerClient::builder(connection_string, "$Default")
    ///     .checkpoint_namespace("contoso.servicebus.windows.net".parse()?)
    ///     .build()?;
    /// # read(client.receive(handle)).await }
    /// ```
    pub fn checkpoint_namespace(mut self, namespace: Namespace) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// How partitions are shared out. Default: [`Strategy::Adaptive`], and
    /// [`Strategy::Greedy`] without a store to share with others.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?;
    /// let client = ConsumerClient::builder(connection_string, "$Default")
    ///     .load_balancing_strategy(Strategy::Balanced)
    ///     .build()?;
    /// # read(client.receive(handle)).await }
    /// ```
    pub fn load_balancing_strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = Some(strategy);
        self
    }

    /// How often the instance looks at who owns what. Default: 10 seconds.
    ///
    /// With [`Strategy::Adaptive`] that is the time for 2 000 partitions. An event hub with fewer has fewer
    /// instances, which so look more often at the same cost for the store: every 2 seconds with 400
    /// partitions and fewer.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?;
    /// let client = ConsumerClient::builder(connection_string, "$Default")
    ///     .load_balancing_interval(Duration::from_secs(5))
    ///     .build()?;
    /// # read(client.receive(handle)).await }
    /// ```
    pub fn load_balancing_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// How long an instance keeps a partition without renewing it. Default: 60 seconds, and at least three
    /// times the load-balancing interval.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?;
    /// let client = ConsumerClient::builder(connection_string, "$Default")
    ///     .partition_ownership_expiration_interval(Duration::from_secs(30))
    ///     .build()?;
    /// # read(client.receive(handle)).await }
    /// ```
    pub fn partition_ownership_expiration_interval(mut self, expiry: Duration) -> Self {
        self.expiry = expiry;
        self
    }

    /// Which partitions this instance may own. Default: any. With a fixed assignment the instance takes what
    /// is its own as soon as nobody holds it, and nothing else.
    ///
    /// ```
    /// use eventhubs::{Assignment, ConsumerClient};
    ///
    /// # let hub = "Endpoint=sb://localhost;SharedAccessKeyName=k;SharedAccessKey=a2V5;EntityPath=orders;\
    /// #            UseDevelopmentEmulator=true".replace(' ', "");
    /// // In a stateful set of three pods, the host name ends in the number of the pod.
    /// let host = "reader-2";
    /// let ordinal = host.rsplit('-').next().unwrap_or_default().parse()?;
    /// let client = ConsumerClient::builder(hub, "$Default")
    ///     .owner_id(host.parse()?)
    ///     .assignment(Assignment::ByOrdinal { ordinal, instances: 3 })
    ///     .build()?;
    /// assert_eq!(client.owner_id().as_str(), "reader-2");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn assignment(mut self, assignment: Assignment) -> Self {
        self.assignment = assignment;
        self
    }

    /// The maximum number of partitions that this instance owns. Default: its fair share.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?;
    /// let client = ConsumerClient::builder(connection_string, "$Default")
    ///     .max_partitions(8.try_into()?)
    ///     .build()?;
    /// # read(client.receive(handle)).await }
    /// ```
    pub fn max_partitions(mut self, max: NonZeroUsize) -> Self {
        self.max_partitions = Some(max);
        self
    }

    /// How failures are retried. Default: 3 retries with exponential backoff.
    ///
    /// ```
    /// # #![allow(unused)]
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctests/setup.rs"));
    /// # #[tokio::main] async fn main() -> Result {
    /// # let (_emulator, connection_string) = orders().await?;
    /// let client = ConsumerClient::builder(connection_string, "$Default")
    ///     .retry(RetryPolicy::exponential(Duration::from_millis(200)).max_retries(5))
    ///     .build()?;
    /// # read(client.receive(handle)).await }
    /// ```
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Adds an observer of the client: for metrics, spans, or a log of your own. See [`Observer`].
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// Builds the client. Nothing is contacted yet.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) when the connection string or a name cannot be
    /// used, no event hub is named, or an option contradicts another. The text names the field, and never the
    /// value of a secret.
    pub fn build(self) -> Result<ConsumerClient> {
        let balancing = self.balancing();
        let (hub, consumer_group, balancing) = (self.hub?, self.consumer_group?, balancing?);
        let owner = self.owner.map_or_else(random_owner, Ok)?;
        let hub = hub.retry(self.retry.clone()).identifier(wire_identifier(&owner)).build()?;
        let store = self.store.unwrap_or_else(|| Arc::new(MemoryCheckpointStore::new()));
        let scope = ConsumerScope::new(
            self.namespace.unwrap_or_else(|| hub.namespace().clone()),
            hub.event_hub().clone(),
            consumer_group,
        );
        let board = Arc::new(Board::new());
        let observers = Observers::new(scope.clone(), self.observers);
        let instance = Instance {
            hub,
            scope,
            store: Arc::new(GuardedStore::new(store, &board, &observers)),
            owner,
            balancing,
            retry: self.retry,
            readings: Readings::default(),
            board,
            observers,
        };
        Ok(ConsumerClient::started(instance))
    }
}

impl fmt::Debug for ConsumerClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerClientBuilder")
            .field("hub", &self.hub)
            .field("consumer_group", &self.consumer_group)
            .field("store", &self.store)
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

impl ConsumerClientBuilder {
    fn balancing(&self) -> Result<Settings> {
        // Nobody else sees a store in the memory of this client, so there is nobody to wait for.
        let by_default = if self.store.is_some() { Strategy::default() } else { Strategy::Greedy };
        let settings = Settings::new(self.interval, self.expiry)
            .and_then(|settings| settings.with_assignment(self.assignment.clone()))
            .map_err(|error| Error::invalid(format!("load balancing: {error}")))?
            .with_strategy(self.strategy.unwrap_or(by_default));
        Ok(match self.max_partitions {
            Some(max) => settings.with_max_partitions(max),
            None => settings,
        })
    }
}

/// The longest identifier that the service takes, in bytes.
const MAX_IDENTIFIER: usize = 64;

/// The owner id as the service shows it in its own messages: a long one is cut, and keeps apart by a hash at
/// its end.
fn wire_identifier(owner: &OwnerId) -> String {
    let id = owner.as_str();
    if id.len() <= MAX_IDENTIFIER {
        return id.to_owned();
    }
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    let hash = format!("-{:016x}", hasher.finish());
    let room = MAX_IDENTIFIER - hash.len();
    let beginning = id.char_indices().take_while(|(at, c)| at + c.len_utf8() <= room).map(|(_, c)| c);
    beginning.chain(hash.chars()).collect()
}

fn random_owner() -> Result<OwnerId> {
    Ok(OwnerId::new(format!("{:032x}", entropy().random::<u128>()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_owner_id_is_shortened_for_the_service_and_stays_distinct() {
        let identifier = |id: &str| wire_identifier(&OwnerId::new(id).unwrap());
        assert_eq!(identifier(&"p".repeat(64)), "p".repeat(64));
        for long in ["p".repeat(65), "p".repeat(256), "ü".repeat(100)] {
            let short = identifier(&long);
            assert!(short.len() <= MAX_IDENTIFIER, "{short}");
            assert_ne!(short, identifier(&format!("{}x", &long[..long.len() - 2])));
            assert_eq!(short, identifier(&long));
        }
    }
}
