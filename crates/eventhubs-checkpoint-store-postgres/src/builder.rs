//! The options of a store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use eventhubs_checkpoint_store::Result;
use rustls::pki_types::CertificateDer;
use secrecy::SecretString;
use tokio::sync::{OnceCell, Semaphore};

use crate::announcer::Announcer;
use crate::call::Database;
use crate::conninfo::ConnectionInfo;
use crate::schema::{DEFAULT_SCHEMA, Schema};
use crate::statements::Statements;
use crate::store::{Inner, PostgresCheckpointStore};
use crate::tls;

/// How long one call of the store may take, unless
/// [`call_timeout`](PostgresCheckpointStoreBuilder::call_timeout) says otherwise.
pub const DEFAULT_CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Options of a [`PostgresCheckpointStore`].
#[derive(Clone)]
pub struct PostgresCheckpointStoreBuilder {
    connection_string: SecretString,
    schema: String,
    migrate: bool,
    call_timeout: Duration,
    authorities: Vec<CertificateDer<'static>>,
}

impl PostgresCheckpointStoreBuilder {
    /// Sets the schema that holds the tables. Stores in different schemas of one database share nothing. The
    /// name is used exactly as given, case included. Default: `eventhubs`.
    #[must_use]
    pub fn schema(mut self, name: &str) -> Self {
        name.clone_into(&mut self.schema);
        self
    }

    /// Sets whether the first call creates the schema and its tables, or changes those of an older version of
    /// this crate. If not, it only checks them. Default: `true`.
    ///
    /// Where the tables are there, no right to create anything is needed either way.
    #[must_use]
    pub fn migrate(mut self, may_migrate: bool) -> Self {
        self.migrate = may_migrate;
        self
    }

    /// Sets how long one call may take, the wait for a connection and for locks included. It is also the
    /// `statement_timeout` of each transaction. Default: 10 seconds.
    #[must_use]
    pub fn call_timeout(mut self, limit: Duration) -> Self {
        self.call_timeout = limit;
        self
    }

    /// Trusts these certificate authorities in addition to those of the system: one or more certificates, as
    /// PEM. They are looked at with `sslmode=verify-full` only, for no other mode verifies certificates.
    ///
    /// # Errors
    /// [`InvalidArgument`](eventhubs_checkpoint_store::ErrorKind::InvalidArgument) when there is no
    /// certificate in it.
    pub fn trust(mut self, pem: impl AsRef<[u8]>) -> Result<Self> {
        self.authorities.extend(tls::certificates(pem.as_ref())?);
        Ok(self)
    }

    /// Makes the store. Nothing is sent yet.
    ///
    /// # Errors
    /// [`InvalidArgument`](eventhubs_checkpoint_store::ErrorKind::InvalidArgument) with the part of the
    /// connection string or the rule for schema names that is not kept. No value is repeated.
    pub fn build(self) -> Result<PostgresCheckpointStore> {
        let schema = Schema::new(&self.schema)?;
        let info = ConnectionInfo::parse(&self.connection_string)?;
        let connector = tls::connector(info.verifies, self.authorities)?;
        let database = Arc::new(Database::new(info.config, connector, self.call_timeout)?);
        Ok(PostgresCheckpointStore::new(Inner {
            announcer: Arc::new(Announcer::new(Arc::clone(&database))),
            statements: Statements::new(&schema),
            may_migrate: self.migrate,
            is_prepared: OnceCell::new(),
            checkpoint_writes: Semaphore::new(1),
            database,
            schema,
        }))
    }
}

impl PostgresCheckpointStore {
    /// A store in the schema `eventhubs` of the database that the connection string names, as `key=value`
    /// pairs or as a `postgres://` URL. Nothing is sent yet; the first call creates what is missing.
    ///
    /// # Errors
    /// As [`PostgresCheckpointStoreBuilder::build`].
    pub fn from_connection_string(connection_string: &str) -> Result<Self> {
        Self::builder(connection_string).build()
    }

    /// As [`from_connection_string`](Self::from_connection_string), with options.
    pub fn builder(connection_string: &str) -> PostgresCheckpointStoreBuilder {
        PostgresCheckpointStoreBuilder {
            connection_string: connection_string.into(),
            schema: DEFAULT_SCHEMA.to_owned(),
            migrate: true,
            call_timeout: DEFAULT_CALL_TIMEOUT,
            authorities: Vec::new(),
        }
    }
}

impl fmt::Debug for PostgresCheckpointStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresCheckpointStoreBuilder")
            .field("schema", &self.schema)
            .field("migrate", &self.migrate)
            .field("call_timeout", &self.call_timeout)
            .finish_non_exhaustive()
    }
}
