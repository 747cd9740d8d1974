//! One connection that comes back by itself, to one server or to a cluster.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eventhubs_checkpoint_store::{Error, ErrorKind, Result};
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::{ClusterClient, ClusterConfig};
use redis::cluster_async::ClusterConnection;
use redis::{Client, Cmd, FromRedisValue, Pipeline, RedisFuture, RedisResult, Script, Value};
use tokio::time::timeout;

use crate::error;

/// How often a connection is tried within one call.
const CONNECT_RETRIES: usize = 2;

/// The longest pause between two of these tries.
const MAX_RETRY_DELAY: Duration = Duration::from_millis(500);

/// Whom to connect to.
#[derive(Clone)]
pub(crate) enum Target {
    Server(Box<Client>),
    Cluster(Box<ClusterClient>),
}

/// A connection of either kind.
#[derive(Clone)]
pub(crate) enum Connection {
    Server(ConnectionManager),
    Cluster(ClusterConnection),
}

/// A connection for commands, which is exchanged where it seems to be dead.
#[derive(Clone)]
pub(crate) struct Link {
    target: Target,
    limit: Duration,
    current: Arc<Mutex<Current>>,
}

struct Current {
    generation: u64,
    connection: Option<Connection>,
}

impl Link {
    /// A connection that is opened by the first call; `limit` is for each call.
    pub(crate) fn new(target: Target, limit: Duration) -> Self {
        let current = Arc::new(Mutex::new(Current { generation: 0, connection: None }));
        Self { target, limit, current }
    }

    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Runs a script, which is loaded if the server does not know it. `prepare` adds keys and arguments.
    pub(crate) async fn script<T: FromRedisValue>(
        &self,
        context: &'static str,
        script: &Script,
        prepare: impl FnOnce(&mut redis::ScriptInvocation<'_>),
    ) -> Result<T> {
        let mut call = script.prepare_invoke();
        prepare(&mut call);
        self.call(context, async |mut connection| call.invoke_async(&mut connection).await).await
    }

    /// Sends one command.
    pub(crate) async fn command<T: FromRedisValue>(&self, context: &'static str, command: &Cmd) -> Result<T> {
        self.call(context, async |mut connection| command.query_async(&mut connection).await).await
    }

    /// Sends commands one after the other on one connection.
    pub(crate) async fn pipeline<T: FromRedisValue>(
        &self,
        context: &'static str,
        commands: &Pipeline,
    ) -> Result<T> {
        self.call(context, async |mut connection| commands.query_async(&mut connection).await).await
    }

    /// Runs `work` with the connection, within the time limit of a call.
    pub(crate) async fn call<T>(
        &self,
        context: &'static str,
        work: impl AsyncFnOnce(Connection) -> RedisResult<T>,
    ) -> Result<T> {
        let (generation, connection) = self.connection().map_err(|source| error::of(context, &source))?;
        match timeout(self.limit, work(connection)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(source)) => {
                // The name of the server may have another address by now.
                if source.is_timeout() || error::is_read_only(&source) {
                    self.discard(generation);
                }
                Err(error::of(context, &source))
            }
            Err(_) => {
                // A connection that a firewall has forgotten is silent forever.
                self.discard(generation);
                Err(Error::new(ErrorKind::Timeout, format!("{context}: no answer within {:?}", self.limit)))
            }
        }
    }

    fn connection(&self) -> RedisResult<(u64, Connection)> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = current.generation;
        if let Some(connection) = &current.connection {
            return Ok((generation, connection.clone()));
        }
        let connection = self.target.open(self.limit)?;
        current.connection = Some(connection.clone());
        Ok((generation, connection))
    }

    /// Makes the next call open a new connection, unless another call has done so already.
    fn discard(&self, generation: u64) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.generation == generation {
            *current = Current { generation: generation + 1, connection: None };
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl Target {
    /// Returns a connection that is opened with its first command.
    fn open(&self, limit: Duration) -> RedisResult<Connection> {
        match self {
            Self::Server(client) => {
                let config = ConnectionManagerConfig::new()
                    .set_number_of_retries(CONNECT_RETRIES)
                    .set_max_delay(MAX_RETRY_DELAY)
                    .set_connection_timeout(Some(limit))
                    .set_response_timeout(Some(limit));
                ConnectionManager::new_lazy_with_config((**client).clone(), config).map(Connection::Server)
            }
            Self::Cluster(client) => {
                let config = ClusterConfig::new().set_connection_timeout(limit).set_response_timeout(limit);
                Ok(Connection::Cluster(client.get_pending_async_connection_with_config(config)))
            }
        }
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Server(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Server(connection) => connection.req_packed_commands(commands, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(commands, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Server(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}
