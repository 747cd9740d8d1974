//! The servers that keep checkpoints in the end-to-end tests, and the stores on them, by an address that fits into an
//! environment variable.

use std::sync::Arc;

use eventhubs_checkpoint_store::CheckpointStore;
use eventhubs_checkpoint_store_blob::BlobCheckpointStore;
use eventhubs_checkpoint_store_postgres::PostgresCheckpointStore;
use eventhubs_checkpoint_store_redis::RedisCheckpointStore;
use eventhubs_checkpoint_store_sqlite::SqliteCheckpointStore;
use eventhubs_test_harness::{Azurite, Postgres, RedisServer};
use tempfile::TempDir;

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
    Sqlite(TempDir),
    /// A database of its own, in the server that the tests of a process share.
    Postgres(String),
    /// A Redis server of its own.
    Redis(RedisServer),
}

impl Storage {
    /// A new container in a blob server of its own.
    ///
    /// # Panics
    /// If the server does not start or does not take the container.
    pub async fn new_blob() -> Self {
        Self::blob(Azurite::start().await).await
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
        Self::Sqlite(TempDir::new().expect("a temporary folder"))
    }

    /// An empty PostgreSQL database.
    ///
    /// # Panics
    /// If the server does not start.
    pub async fn new_postgres() -> Self {
        let server = Postgres::shared().await;
        Self::Postgres(server.connection_string(&server.create_database()))
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
            Self::Postgres(database) => format!("postgres {database}"),
            Self::Redis(server) => format!("redis {}", server.url()),
            Self::Sqlite(folder) => format!("sqlite {}", folder.path().join("checkpoints.db").display()),
        }
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

    /// What the consumer in Python reads instead of the address.
    pub(crate) fn blob_variables(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Blob { azurite, container } => {
                vec![("STORAGE", azurite.connection_string()), ("CONTAINER", container.clone())]
            }
            Self::Postgres(_) | Self::Redis(_) | Self::Sqlite(_) => Vec::new(),
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

    /// The blob server, to stop it and to start it again.
    ///
    /// # Panics
    /// If it is another storage.
    pub fn azurite_mut(&mut self) -> &mut Azurite {
        let Self::Blob { azurite, .. } = self else { panic!("{self:?} is not blob storage") };
        azurite
    }
}
