//! The connection that the partitions of a client share: opened when first needed, and again after it is
//! lost.
//!
//! Tests: `tests/it/faults.rs` and `tests/it/shutdown.rs`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eventhubs_types::Value;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::sync::Mutex as AsyncMutex;

use crate::config::credential::Credential;
use crate::connection::cbs::Cbs;
use crate::connection::engine::Engine;
use crate::connection::requests::{Request, Requests};
use crate::runtime::ambient;
use crate::runtime::task::Task;
use crate::transport::Transport;
use crate::{Error, ErrorKind, Result};

/// What a connection needs to be opened.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionSettings {
    pub(crate) transport: Transport,
    pub(crate) credential: Credential,
    pub(crate) identifier: String,
    pub(crate) limit: Duration,
}

/// An open connection that can be authorised. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Connection {
    engine: Arc<Engine>,
    cbs: Arc<Cbs>,
    management: AsyncMutex<Option<Requests>>,
    /// Ends with this connection.
    _renewal: Task<()>,
}

impl Connection {
    async fn open(settings: ConnectionSettings) -> Result<Self> {
        let container_id = format!("{}-{}", settings.identifier, ambient::suffix());
        let engine = Engine::open(&settings.transport, &container_id, settings.limit).await?;
        Self::over(Arc::new(engine), settings.credential).await
    }

    pub(crate) async fn over(engine: Arc<Engine>, credential: Credential) -> Result<Self> {
        let cbs = Arc::new(Cbs::open(&engine, credential).await?);
        let renewing = (Arc::clone(&cbs), Arc::clone(&engine));
        let renewal = Task::spawn(async move { renewing.0.keep_renewing(&renewing.1).await });
        Ok(Self { engine, cbs, management: AsyncMutex::default(), _renewal: renewal })
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Makes sure that the service believes us for this audience; `fresh` if it did not believe the last
    /// token.
    pub(crate) async fn authorize(&self, audience: &str, fresh: bool) -> Result<()> {
        self.cbs.authorize(audience, fresh).await
    }

    /// Sends a request to `$management`.
    pub(crate) async fn manage(&self, request: Request) -> Result<Value> {
        let requests = self.management().await?;
        requests.call(request).await
    }

    /// The links to `$management`: attached when first needed and again after they broke.
    async fn management(&self) -> Result<Requests> {
        let mut slot = self.management.lock().await;
        if let Some(requests) = slot.as_ref().filter(|requests| requests.is_live()) {
            return Ok(requests.clone());
        }
        let requests = Requests::open(&self.engine, "$management").await?;
        Ok(slot.insert(requests).clone())
    }
}

type Opening = Shared<BoxFuture<'static, Result<Arc<Connection>>>>;

/// Gives out one connection to all who ask, and opens a new one when it is lost.
#[derive(Debug)]
pub(crate) struct SharedConnection {
    settings: ConnectionSettings,
    slot: Mutex<Slot>,
}

#[derive(Debug)]
enum Slot {
    Idle,
    Opened(Opening),
    Closed,
}

impl SharedConnection {
    pub(crate) fn new(settings: ConnectionSettings) -> Self {
        Self { settings, slot: Mutex::new(Slot::Idle) }
    }

    /// The live connection. Those who ask while it is being opened share the outcome, an error too.
    pub(crate) async fn get(&self) -> Result<Arc<Connection>> {
        let opening = self.opening()?;
        let connection = opening.await?;
        if matches!(*self.slot(), Slot::Closed) {
            // It was being opened when the client was closed, so nobody else ends it.
            connection.engine.kill();
            return Err(closed());
        }
        Ok(connection)
    }

    fn opening(&self) -> Result<Opening> {
        let mut slot = self.slot();
        match &*slot {
            Slot::Closed => return Err(closed()),
            Slot::Opened(opening) if is_usable(opening) => return Ok(opening.clone()),
            Slot::Opened(_) | Slot::Idle => {}
        }
        // In a task, so that it makes progress whoever waits: the first who asked may have dropped its call.
        // It ends with the last one who could ask for it.
        let opening = Task::spawn(Connection::open(self.settings.clone()));
        let opening = opening.map(|opened| opened.unwrap_or_else(|| Err(task_gone())).map(Arc::new));
        let opening = opening.boxed().shared();
        *slot = Slot::Opened(opening.clone());
        Ok(opening)
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the connection, if there is one, and opens none any more.
    pub(crate) async fn close(&self) {
        let slot = std::mem::replace(&mut *self.slot(), Slot::Closed);
        if let Slot::Opened(opening) = slot
            && let Some(Ok(connection)) = opening.peek()
        {
            connection.engine.close().await;
        }
    }
}

/// The next one who asks opens a connection in a runtime that is there.
fn task_gone() -> Error {
    Error::new(ErrorKind::Transport, "the task that was opening the connection is gone")
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the client was closed")
}

/// Whether it is being opened, or open and not lost.
fn is_usable(opening: &Opening) -> bool {
    opening.peek().is_none_or(|opened| opened.as_ref().is_ok_and(|connection| connection.engine.is_live()))
}
