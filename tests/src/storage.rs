//! The servers that keep checkpoints in the end-to-end tests, and the stores on them, by an address that fits into an
//! environment variable.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventhubs_checkpoint_store::CheckpointStore;
use eventhubs_checkpoint_store_blob::BlobCheckpointStore;
use eventhubs_checkpoint_store_postgres::PostgresCheckpointStore;
use eventhubs_checkpoint_store_redis::RedisCheckpointStore;
use eventhubs_checkpoint_store_sqlite::SqliteCheckpointStore;
use eventhubs_checkpoint_store_sqlite::rusqlite::Connection;
use eventhubs_test_harness::{Azurite, LossyProxy, Postgres, RedisServer};
use tempfile::TempDir;

/// How long a lock of the file may have to be waited for.
const LOCK_LIMIT: Duration = Duration::from_secs(30);

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A place for checkpoints that nobody else uses.
#[derive(Debug)]
pub enum Storage {
    /// A container of its own.
    Blob {
        /// The server.
        azurite: Azurite,
        /// The container.
        container: String,
    },
    /// A SQLite file in a folder of its own.
    Sqlite {
        /// The folder.
        folder: TempDir,
        /// Keeps all others away, while the store is to be unavailable.
        lock: Option<Mutex<Connection>>,
    },
    /// A PostgreSQL server of its own.
    Postgres(Postgres),
    /// A Redis server of its own.
    Redis(RedisServer),
}

impl Storage {
    /// A new container in a blob server of its own.
    ///
    /// # Panics
    /// If the server does not start or does not take the container.
    pub async fn new_blob() -> Self {
        Self::blob(Azurite::builder().persistent().start().await).await
    }

    /// A new container in this server.
    ///
    /// # Panics
    /// If the server does not start or does not take the container.
    pub async fn blob(azurite: Azurite) -> Self {
        let container = Azurite::unused_container();
        let store = BlobCheckpointStore::from_connection_string(&azurite.connection_string(), &container);
        let store = store.expect("the storage gives a good connection string");
        store.create_container_if_absent().await.expect("the storage takes a container");
        Self::Blob { azurite, container }
    }

    /// A file that is not there yet.
    ///
    /// # Panics
    /// If no folder can be made.
    pub fn new_sqlite() -> Self {
        Self::Sqlite { folder: TempDir::new().expect("a temporary folder"), lock: None }
    }

    /// An empty PostgreSQL database.
    ///
    /// # Panics
    /// If the server does not start.
    pub async fn new_postgres() -> Self {
        Self::Postgres(Postgres::start().await)
    }

    /// An empty Redis server.
    ///
    /// # Panics
    /// If the server does not start.
    pub async fn new_redis() -> Self {
        Self::Redis(RedisServer::builder().persistent().start().await)
    }

    /// Where [`open`](Self::open) finds it.
    pub fn address(&self) -> String {
        match self {
            Self::Blob { azurite, container } => format!("blob {container} {}", azurite.connection_string()),
            Self::Postgres(server) => format!("postgres {}", server.connection_string("postgres")),
            Self::Redis(server) => format!("redis {}", server.url()),
            Self::Sqlite { folder, .. } => format!("sqlite {}", file_in(folder).display()),
        }
    }

    /// A link to the database that loses the answer to each `every`-th COMMIT, with the address of the store on it; `None`
    /// where there is no link.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn losing_commits(&self, every: usize) -> Option<(LossyProxy, String)> {
        let Self::Postgres(server) = self else { return None };
        let proxy = LossyProxy::losing(server.port(), b"COMMIT", every).await;
        let address = Postgres::connection_string_at(proxy.port(), "postgres");
        Some((proxy, format!("postgres {address}")))
    }

    /// A store at an address.
    ///
    /// # Errors
    /// When the address is none, or the store does not open.
    pub async fn open(address: &str) -> Result<Arc<dyn CheckpointStore>, Error> {
        let (kind, rest) = address.split_once(' ').ok_or("the address of a store begins with its kind")?;
        Ok(match kind {
            "blob" => {
                let (container, connection_string) = rest.split_once(' ').ok_or("which container?")?;
                Arc::new(BlobCheckpointStore::from_connection_string(connection_string, container)?)
            }
            "postgres" => Arc::new(PostgresCheckpointStore::from_connection_string(rest)?),
            "redis" => Arc::new(RedisCheckpointStore::connect(rest).await?),
            "sqlite" => Arc::new(SqliteCheckpointStore::open(rest).await?),
            _ => return Err(format!("there is no store of the kind {kind}").into()),
        })
    }

    /// Makes the store unavailable: its server ends, or somebody locks its file and does not let go.
    ///
    /// # Panics
    /// If that cannot be done.
    pub async fn interrupt(&mut self) {
        match self {
            Self::Blob { azurite, .. } => azurite.stop().await,
            Self::Postgres(server) => server.stop().await,
            Self::Redis(server) => server.kill(),
            Self::Sqlite { folder, lock } => {
                let connection = Connection::open(file_in(folder)).expect("the file opens");
                connection.busy_timeout(LOCK_LIMIT).expect("a limit can be set");
                connection.execute_batch("BEGIN EXCLUSIVE").expect("the file can be locked");
                *lock = Some(Mutex::new(connection));
            }
        }
    }

    /// Makes the store available again, with all that it had.
    ///
    /// # Panics
    /// If that cannot be done.
    pub async fn restore(&mut self) {
        match self {
            Self::Blob { azurite, .. } => azurite.restart_on_same_port().await,
            Self::Postgres(server) => server.start_again().await,
            Self::Redis(server) => server.restart_on_same_port().await,
            Self::Sqlite { lock, .. } => *lock = None,
        }
    }

    /// What the consumer in Python reads instead of the address.
    pub(crate) fn blob_variables(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Blob { azurite, container } => {
                vec![("STORAGE", azurite.connection_string()), ("CONTAINER", container.clone())]
            }
            Self::Postgres(_) | Self::Redis(_) | Self::Sqlite { .. } => Vec::new(),
        }
    }

    /// The blob server.
    ///
    /// # Panics
    /// If it is another storage.
    pub fn azurite(&self) -> &Azurite {
        let Self::Blob { azurite, .. } = self else { panic!("{self:?} is not blob storage") };
        azurite
    }
}

fn file_in(folder: &TempDir) -> PathBuf {
    folder.path().join("checkpoints.db")
}
