//! Sends the hints on claims that were won and announce themselves.

use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::call::Database;

/// How many hints wait to be sent. What does not fit is dropped: a hint may be missed.
const MAX_WAITING: usize = 256;

/// A hint on its way: the channel and what is said in it.
type Announcement = (String, String);

/// The sender of hints. Its task and connection begin with the first one, and end with the store.
pub(crate) struct Announcer {
    database: Arc<Database>,
    queue: OnceLock<mpsc::Sender<Announcement>>,
}

impl Announcer {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self { database, queue: OnceLock::new() }
    }

    /// Sends a hint after all earlier ones. The claim does not wait for it.
    pub(crate) fn announce(&self, channel: String, payload: String) {
        if let Some(queue) = self.queue.get() {
            let _ = queue.try_send((channel, payload));
            return;
        }
        let (sender, queue) = mpsc::channel(MAX_WAITING);
        let _ = sender.try_send((channel, payload));
        // If another claim was faster, its task has the connection, and this hint is missed.
        if self.queue.set(sender).is_ok() {
            tokio::spawn(send_all(Arc::clone(&self.database), queue));
        }
    }
}

async fn send_all(database: Arc<Database>, mut queue: mpsc::Receiver<Announcement>) {
    let mut open: Option<Client> = None;
    while let Some((channel, payload)) = queue.recv().await {
        let client = match open.take().filter(|client| !client.is_closed()) {
            Some(client) => Some(client),
            None => connected(&database).await,
        };
        let Some(client) = client else { continue };
        // Alone in its transaction: a commit with a notification takes a lock that all other such commits of the
        // server wait for.
        let sending = notify(&client, &channel, &payload);
        if let Ok(Ok(())) = timeout(database.call_timeout(), sending).await {
            open = Some(client);
        }
    }
}

async fn connected(database: &Database) -> Option<Client> {
    match database.connect_alone().await {
        Ok((client, connection)) => {
            tokio::spawn(connection);
            Some(client)
        }
        Err(failure) => {
            let error = failure.during("connect to announce a claim");
            tracing::debug!(%error, "a claim was not announced");
            None
        }
    }
}

/// Sends one notification.
pub(crate) async fn notify(
    client: &Client,
    channel: &str,
    payload: &str,
) -> Result<(), tokio_postgres::Error> {
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&channel, Type::TEXT), (&payload, Type::TEXT)];
    client.query_typed("SELECT pg_notify($1, $2)", &parameters).await.map(drop)
}
