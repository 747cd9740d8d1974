//! One call of a store on one connection: its transactions, its time limit, and the connections themselves.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod};
use eventhubs_checkpoint_store::Result;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Connection, Row, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

pub(crate) use crate::error::Failure;

/// The most connections for calls; the one that watches and the one that announces are extra.
pub(crate) const MAX_CONNECTIONS: usize = 2;

/// The parameters of a statement. Their types are given, so that no statement has to be prepared by name,
/// which a pooler of transactions does not keep.
pub(crate) type Parameters<'a> = &'a [(&'a (dyn ToSql + Sync), Type)];

/// A connection that is not in the pool, still to be driven.
pub(crate) type OwnConnection = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// How the database is reached.
pub(crate) struct Database {
    config: Config,
    tls: MakeRustlsConnect,
    pool: Pool,
    call_timeout: Duration,
    begin: String,
}

impl Database {
    pub(crate) fn new(config: Config, tls: MakeRustlsConnect, call_timeout: Duration) -> Result<Self> {
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(config.clone(), tls.clone(), recycling);
        let pool = Pool::builder(manager).max_size(MAX_CONNECTIONS).build();
        let pool = pool.map_err(|error| Failure::from(error).during("make the connection pool"))?;
        // Levels are given, since the defaults of a database or role may be others. A replica refuses to
        // begin: what it shows may be old. Zero would mean no limit.
        let limit = call_timeout.as_millis().clamp(1, 2_147_483_647);
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL statement_timeout = {limit}; \
             SET LOCAL lock_timeout = {limit}"
        );
        Ok(Self { config, tls, pool, call_timeout, begin })
    }

    pub(crate) fn call_timeout(&self) -> Duration {
        self.call_timeout
    }

    /// Takes a connection of the pool, for as long as a call may last.
    pub(crate) async fn call(&self) -> Result<Call> {
        self.call_until(Instant::now() + self.call_timeout).await
    }

    pub(crate) async fn call_until(&self, deadline: Instant) -> Result<Call> {
        let object = match timeout_at(deadline, self.pool.get()).await {
            Ok(object) => object.map_err(Failure::from),
            Err(_) => Err(Failure::Timeout),
        };
        let object = object.map_err(|failure| failure.during("connect to the database"))?;
        Ok(Call { object: Some(object), deadline, begin: self.begin.clone(), in_flight: AtomicUsize::new(0) })
    }

    /// Opens a connection outside the pool.
    pub(crate) async fn connect_alone(&self) -> std::result::Result<(Client, OwnConnection), Failure> {
        let deadline = Instant::now() + self.call_timeout;
        match timeout_at(deadline, self.config.connect(self.tls.clone())).await {
            Ok(connected) => Ok(connected?),
            Err(_) => Err(Failure::Timeout),
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("call_timeout", &self.call_timeout).finish_non_exhaustive()
    }
}

/// A connection in use. One whose answers were not all read is closed instead of being used again: the next
/// call would wait for a statement that nobody wants any more.
pub(crate) struct Call {
    object: Option<Object>,
    deadline: Instant,
    begin: String,
    in_flight: AtomicUsize,
}

impl Call {
    /// What begins a transaction with the limits of a call.
    pub(crate) fn begin(&self) -> &str {
        &self.begin
    }

    /// Executes one statement in a transaction of its own, in one round trip.
    pub(crate) async fn run(
        &self,
        sql: &str,
        parameters: Parameters<'_>,
    ) -> std::result::Result<Vec<Row>, Failure> {
        self.run_after("", sql, parameters).await
    }

    /// As [`run`](Self::run), with a wait for locks that may be shorter than the call.
    pub(crate) async fn run_with_lock_limit(
        &self,
        limit: Duration,
        sql: &str,
        parameters: Parameters<'_>,
    ) -> std::result::Result<Vec<Row>, Failure> {
        let setting = format!("; SET LOCAL lock_timeout = {}", limit.as_millis().clamp(1, 2_147_483_647));
        self.run_after(&setting, sql, parameters).await
    }

    /// As [`run`](Self::run), with a commit that is on the disk before it is answered, also where the database says that
    /// it need not be.
    #[cfg(feature = "dead-letters")]
    pub(crate) async fn run_durably(
        &self,
        sql: &str,
        parameters: Parameters<'_>,
    ) -> std::result::Result<Vec<Row>, Failure> {
        // Only then, for a database may ask for more than `on`.
        const SETTING: &str = "; SELECT set_config('synchronous_commit', 'on', true) \
            WHERE current_setting('synchronous_commit') = 'off'";
        self.run_after(SETTING, sql, parameters).await
    }

    async fn run_after(
        &self,
        settings: &str,
        sql: &str,
        parameters: Parameters<'_>,
    ) -> std::result::Result<Vec<Row>, Failure> {
        let client = self.begin_exclusive()?;
        let begin = format!("{}{settings}", self.begin);
        // All three are sent before the first is answered, so that a call that is dropped is applied as a
        // whole, and a link with a latency is crossed once. After an error the last one rolls back.
        let pipeline = async {
            tokio::join!(
                client.batch_execute(&begin),
                client.query_typed(sql, parameters),
                client.batch_execute("COMMIT"),
            )
        };
        let answers = timeout_at(self.deadline, pipeline).await.map_err(|_| Failure::Timeout)?;
        let rows = answers.0.and(answers.1).and_then(|rows| answers.2.map(|()| rows));
        let rows = rows.map_err(Failure::from);
        // A server that became a replica is left, since its successor may be found under the same name.
        if !rows.as_ref().is_err_and(|failure| failure.is(&SqlState::READ_ONLY_SQL_TRANSACTION)) {
            self.end_exclusive();
        }
        rows
    }

    /// The connection, which is closed at the end of the call unless [`end_exclusive`](Self::end_exclusive)
    /// follows.
    pub(crate) fn begin_exclusive(&self) -> std::result::Result<&Client, Failure> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.object.as_ref().map(|object| &***object).ok_or(Failure::Timeout)
    }

    pub(crate) fn end_exclusive(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// What the work returns, within the time limit of the call.
    pub(crate) async fn within<T>(
        &self,
        work: impl Future<Output = std::result::Result<T, tokio_postgres::Error>>,
    ) -> std::result::Result<T, Failure> {
        match timeout_at(self.deadline, work).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(Failure::Timeout),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(object) = self.object.take_if(|_| *self.in_flight.get_mut() > 0) {
            drop(Object::take(object));
        }
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => error.into(),
            _ => Self::Timeout,
        }
    }
}

impl From<deadpool_postgres::BuildError> for Failure {
    fn from(_: deadpool_postgres::BuildError) -> Self {
        Self::Timeout
    }
}
