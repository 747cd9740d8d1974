//! The client of one event hub, its builder, and what it can ask the service. Reading is in `receiver.rs`.
//!
//! Tests: `tests/it/`, above all `management.rs`, `credentials.rs` and `shutdown.rs`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use eventhubs_types::{
    ConsumerGroup, EventHubName, InvalidName, Namespace, PartitionId, StartingPosition, Value,
};
use futures::FutureExt;
use futures::future::join_all;

#[cfg(doc)]
use crate::ErrorKind;
use crate::config::credential::{Credential, Secret};
use crate::config::endpoint::{Address, Endpoint, is_this_machine};
use crate::connection::management;
use crate::connection::shared::{ConnectionSettings, SharedConnection};
use crate::link::attach::{LinkOptions, attach};
use crate::link::source::DeliverySource;
use crate::recovery::attempts::{Failures, retrying};
use crate::runtime::ambient;
use crate::transport::Transport;
use crate::{
    ConnectionOptions, ConnectionString, Error, EventHubProperties, PartitionProperties,
    PartitionReceiverBuilder, Result, RetryPolicy, TokenCredential,
};

/// A client of one event hub. Clones share their connections, which are opened on first use and reopened
/// after a failure.
///
/// ```
/// # use eventhubs_emulator::Emulator;
/// use eventhubs_amqp::{ConnectionString, EventHubClient};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let emulator = Emulator::builder().event_hub("orders", 2).start().await?;
/// # let text = emulator.connection_string("orders");
/// let client = EventHubClient::builder(ConnectionString::parse(&text)?).build()?;
/// for id in client.event_hub_properties().await?.partition_ids {
///     let partition = client.partition_properties(&id).await?;
///     println!("{id}: empty: {}", partition.is_empty);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct EventHubClient(Arc<Inner>);

struct Inner {
    namespace: Namespace,
    event_hub: EventHubName,
    audience: String,
    credential: Credential,
    identifier: String,
    retry: RetryPolicy,
    /// The first also serves all that is not about reading.
    connections: Vec<SharedConnection>,
    /// How many receivers were made: they take turns with the connections.
    receivers: AtomicUsize,
}

/// Options of an [`EventHubClient`]; made by [`EventHubClient::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is built"]
pub struct EventHubClientBuilder {
    /// Or what is wrong with it, which `build` tells.
    endpoint: std::result::Result<Endpoint, String>,
    proof: Proof,
    connection: ConnectionOptions,
    /// The `EntityPath` of the connection string.
    path: Option<EventHubName>,
    event_hub: Option<std::result::Result<EventHubName, InvalidName>>,
    retry: RetryPolicy,
    identifier: Option<String>,
}

/// What proves that we may read.
#[derive(Clone)]
enum Proof {
    Secret(Secret),
    Tokens(Arc<dyn TokenCredential>),
}

impl EventHubClient {
    /// Returns a builder for a client that authenticates with the key or signature of a connection string.
    pub fn builder(connection_string: ConnectionString) -> EventHubClientBuilder {
        let ConnectionString { endpoint, event_hub: path, secret } = connection_string;
        EventHubClientBuilder { path, ..EventHubClientBuilder::new(Ok(endpoint), Proof::Secret(secret)) }
    }

    /// Returns a builder for a client that authenticates with a token credential. `namespace` is the fully
    /// qualified host name, for example `contoso.servicebus.windows.net`; a scheme and a trailing slash are
    /// ignored. [`build`](EventHubClientBuilder::build) checks it and the event hub.
    ///
    /// ```
    /// # use eventhubs_emulator::Emulator;
    /// use std::time::{Duration, SystemTime};
    ///
    /// use eventhubs_amqp::{AccessToken, EventHubClient, TokenCredential, TokenError};
    ///
    /// #[derive(Debug)]
    /// struct FromTheSidecar;
    ///
    /// #[async_trait::async_trait]
    /// impl TokenCredential for FromTheSidecar {
    ///     async fn token(&self, scope: &str) -> Result<AccessToken, TokenError> {
    ///         assert_eq!(scope, "https://eventhubs.azure.net/.default");
    ///         let text = "eyJhbGciOiJub25lIn0.e30.c2ln"; // ask the sidecar
    ///         Ok(AccessToken::new(text, SystemTime::now() + Duration::from_secs(3600)))
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let emulator = Emulator::builder().event_hub("orders", 2).start().await?;
    /// # let namespace = format!("localhost:{}", emulator.address().port());
    /// let client = EventHubClient::with_credential(namespace, "orders", FromTheSidecar)
    /// #   .use_development_emulator()
    ///     .build()?;
    /// assert_eq!(client.event_hub_properties().await?.partition_ids.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_credential(
        namespace: impl AsRef<str>,
        event_hub: impl AsRef<str>,
        credential: impl TokenCredential + 'static,
    ) -> EventHubClientBuilder {
        let address = Address::parse(namespace.as_ref());
        let address = address.map_err(|reason| format!("namespace: {reason}"));
        let endpoint = address.map(|address| Endpoint { address, tls: true });
        EventHubClientBuilder::new(endpoint, Proof::Tokens(Arc::new(credential))).event_hub(event_hub)
    }

    /// Switches to the key or signature of another connection string, so that keys can be rotated while the
    /// program runs. Open connections put new tokens at once; no event is lost.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] when the connection string is for another namespace, or when this
    /// client authenticates with a token credential.
    pub fn update_connection_string(&self, connection_string: &ConnectionString) -> Result<()> {
        if connection_string.namespace() != self.namespace() {
            return Err(Error::invalid("connection string: is for another namespace"));
        }
        if !self.0.credential.replace(connection_string.secret.clone()) {
            return Err(Error::invalid(
                "connection string: this client authenticates with a token credential and has none to replace",
            ));
        }
        Ok(())
    }

    /// Returns the host name of the namespace, without a port.
    pub fn namespace(&self) -> &Namespace {
        &self.0.namespace
    }

    /// The event hub.
    pub fn event_hub(&self) -> &EventHubName {
        &self.0.event_hub
    }

    /// Returns the properties of the event hub, as the service has them now.
    ///
    /// # Errors
    /// When the service refuses or cannot be reached within the retry policy.
    ///
    /// # Cancel safety
    /// Safe to drop; asking again starts over.
    pub async fn event_hub_properties(&self) -> Result<EventHubProperties> {
        management::event_hub_properties(&self.read(None).await?, self.event_hub())
    }

    /// Returns the properties of one partition, as the service has them now.
    ///
    /// # Errors
    /// When the service refuses or cannot be reached within the retry policy.
    ///
    /// # Cancel safety
    /// Safe to drop; asking again starts over.
    pub async fn partition_properties(&self, partition: &PartitionId) -> Result<PartitionProperties> {
        management::partition_properties(&self.read(Some(partition)).await?, self.event_hub(), partition)
    }

    /// Asks `$management`, within the retry policy.
    async fn read(&self, partition: Option<&PartitionId>) -> Result<Value> {
        let (client, partition) = (self.clone(), partition.cloned());
        let attempt = move |fresh| {
            let (client, partition) = (client.clone(), partition.clone());
            async move { client.read_once(partition.as_ref(), fresh).await }.boxed()
        };
        retrying(&self.0.retry, &mut Failures::default(), None, attempt).await
    }

    async fn read_once(&self, partition: Option<&PartitionId>, fresh: bool) -> Result<Value> {
        let Inner { event_hub, audience, credential, connections, .. } = &*self.0;
        let connection = connections[0].get().await?;
        let asking = async {
            connection.authorize(audience, fresh).await?;
            let token = credential.token(audience, ambient::now()).await?;
            connection.manage(management::read(event_hub, partition, &token)).await
        };
        asking.await.map_err(|error| {
            let partition = partition.map(|id| format!(", partition {id}")).unwrap_or_default();
            error.within(&format!("reading the properties of event hub {event_hub}{partition}"))
        })
    }

    /// Attaches to a partition on one of the connections: one try, with a fresh token if asked.
    pub(crate) async fn attach_once(
        &self,
        connection: usize,
        options: &LinkOptions,
        position: &StartingPosition,
        fresh: bool,
    ) -> Result<Box<dyn DeliverySource>> {
        let connection = self.0.connections[connection].get().await?;
        let attaching = async {
            connection
                .authorize(&format!("{}/consumergroups/{}", self.0.audience, options.group), fresh)
                .await?;
            attach(connection.engine(), options, position).await
        };
        attaching.await.map_err(|error| error.within(&format!("attaching to {}", options.subject())))
    }

    /// The connection, with a token for the whole event hub; a fresh one if asked.
    #[cfg(feature = "producer")]
    pub(crate) async fn authorized_engine(
        &self,
        fresh: bool,
    ) -> Result<Arc<crate::connection::engine::Engine>> {
        let connection = self.0.connections[0].get().await?;
        connection.authorize(&self.0.audience, fresh).await?;
        Ok(Arc::clone(connection.engine()))
    }

    /// The connection of the next receiver.
    pub(crate) fn next_connection(&self) -> usize {
        self.0.receivers.fetch_add(1, Ordering::Relaxed) % self.0.connections.len()
    }

    pub(crate) fn retry(&self) -> &RetryPolicy {
        &self.0.retry
    }

    pub(crate) fn identifier(&self) -> &str {
        &self.0.identifier
    }

    /// Returns a builder for a receiver of one partition.
    pub fn partition_receiver(
        &self,
        group: ConsumerGroup,
        partition: PartitionId,
    ) -> PartitionReceiverBuilder {
        PartitionReceiverBuilder::new(self.clone(), group, partition)
    }

    /// Closes the connections. Receivers, and calls after this one, return [`ErrorKind::Closed`].
    ///
    /// # Cancel safety
    /// Safe to drop: the client is closed at the first poll. Only the wait for the service is cut short.
    pub async fn close(&self) {
        join_all(self.0.connections.iter().map(SharedConnection::close)).await;
    }
}

impl fmt::Debug for EventHubClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventHubClient")
            .field("namespace", self.namespace())
            .field("event_hub", self.event_hub())
            .finish_non_exhaustive()
    }
}

/// A credential of the user may show what it should not.
impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(secret) => secret.fmt(f),
            Self::Tokens(_) => f.write_str("Tokens"),
        }
    }
}

impl EventHubClientBuilder {
    fn new(endpoint: std::result::Result<Endpoint, String>, proof: Proof) -> Self {
        Self {
            endpoint,
            proof,
            connection: ConnectionOptions::new(),
            path: None,
            event_hub: None,
            retry: RetryPolicy::default(),
            identifier: None,
        }
    }

    /// Connects to an emulator: without TLS, on port 5672 unless the namespace has a port. Not needed with a
    /// connection string that has `UseDevelopmentEmulator=true`.
    pub fn use_development_emulator(mut self) -> Self {
        if let Ok(endpoint) = &mut self.endpoint {
            endpoint.tls = false;
        }
        self
    }

    /// Sets the event hub. Needed when the connection string has no `EntityPath`. [`build`](Self::build)
    /// checks the name.
    pub fn event_hub(mut self, event_hub: impl AsRef<str>) -> Self {
        self.event_hub = Some(EventHubName::new(event_hub));
        self
    }

    /// Sets how failures are retried. Default: [`RetryPolicy::default`].
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Sets how the service is reached. Default: [`ConnectionOptions::new`].
    pub fn connection(mut self, options: ConnectionOptions) -> Self {
        self.connection = options;
        self
    }

    /// Sets the name of this client in the service's logs and errors, at most 64 bytes. Default: a random
    /// one.
    pub fn identifier(mut self, identifier: impl Into<String>) -> Self {
        self.identifier = Some(identifier.into());
        self
    }

    /// Builds the client. Does no I/O.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] when the namespace cannot be one, when no event hub is given or its name
    /// cannot be one, when it differs from the `EntityPath` of the connection string, or when the identifier
    /// is too long.
    pub fn build(self) -> Result<EventHubClient> {
        let endpoint = self.endpoint.clone().map_err(Error::invalid)?;
        self.check_exposure(&endpoint)?;
        let given = self.event_hub.transpose().map_err(|error| Error::invalid(error.to_string()))?;
        let event_hub = match (given, self.path) {
            (None, None) => return Err(Error::invalid(NO_EVENT_HUB)),
            (Some(given), Some(path)) if !given.as_str().eq_ignore_ascii_case(path.as_str()) => {
                return Err(Error::invalid(
                    "event hub: differs from the EntityPath of the connection string",
                ));
            }
            (Some(given), _) => given,
            (None, Some(path)) => path,
        };
        let identifier = self.identifier.unwrap_or_else(|| format!("eventhubs-{}", ambient::suffix()));
        check_identifier(&identifier)?;
        let credential = match self.proof {
            Proof::Secret(secret) => Credential::given(secret),
            Proof::Tokens(credential) => Credential::Issued { credential, limit: self.retry.timeout() },
        };
        let connections = self.connection.connections.get();
        let settings = ConnectionSettings {
            transport: Transport::new(endpoint.clone(), self.connection.clone()),
            credential: credential.clone(),
            identifier: identifier.clone(),
            limit: self.retry.timeout(),
        };
        Ok(EventHubClient(Arc::new(Inner {
            audience: endpoint.audience(event_hub.as_str()),
            namespace: endpoint.address.host,
            event_hub,
            credential,
            identifier,
            retry: self.retry,
            connections: (0..connections).map(|_| SharedConnection::new(settings.clone())).collect(),
            receivers: AtomicUsize::new(0),
        })))
    }
}

const NO_EVENT_HUB: &str =
    "event hub: is missing; add EntityPath=<name> to the connection string, or name it in the builder";

/// The domains of the clouds: what is there speaks TLS.
const CLOUDS: [&str; 4] = [
    ".servicebus.windows.net",
    ".servicebus.chinacloudapi.cn",
    ".servicebus.usgovcloudapi.net",
    ".servicebus.cloudapi.de",
];

impl EventHubClientBuilder {
    /// Without TLS, whoever answers reads the token.
    fn check_exposure(&self, endpoint: &Endpoint) -> Result<()> {
        if endpoint.tls {
            return Ok(());
        }
        let hosts = || {
            let custom = self.connection.custom_endpoint.iter().map(|address| address.host.as_str());
            custom.chain([endpoint.host().as_str()])
        };
        if hosts().any(|host| CLOUDS.iter().any(|cloud| host.to_ascii_lowercase().ends_with(cloud))) {
            let text = "UseDevelopmentEmulator: is true for a namespace in the cloud, which would get the token without TLS";
            return Err(Error::invalid(text));
        }
        if matches!(self.proof, Proof::Tokens(_)) && !hosts().all(is_this_machine) {
            let text = "credential: its tokens go over TLS only, except to an emulator on this machine";
            return Err(Error::invalid(text));
        }
        Ok(())
    }
}

/// The service takes names of at most 64 characters (docs/contract.md §5.1).
pub(crate) fn check_identifier(identifier: &str) -> Result<()> {
    match identifier.len() {
        1..=64 if !identifier.contains(char::is_control) => Ok(()),
        _ => Err(Error::invalid("identifier: must have 1 to 64 bytes and no control characters")),
    }
}
