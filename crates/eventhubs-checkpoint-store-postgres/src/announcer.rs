//! Sends the hints on claims that were won and announce themselves.

use std::mem;
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::call::Database;

/// How many hints wait to be sent. What does not fit is dropped: a hint may be missed.
const MAX_WAITING: usize = 256;

const NOTIFY: &str = "SELECT pg_notify(channel, payload) FROM unnest($1, $2) AS hint (channel, payload)";

/// A hint on its way: the channel and what is said in it.
pub(crate) type Announcement = (String, String);

/// The sender of hints. Its task and connection begin with the first watch or hint, and end with the store.
pub(crate) struct Announcer {
    database: Arc<Database>,
    queue: OnceLock<mpsc::Sender<Announcement>>,
}

impl Announcer {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self { database, queue: OnceLock::new() }
    }

    /// Opens the connection, if it is not open yet. A watch does so: the first hint, which is often that of a stop,
    /// then waits for no connection.
    pub(crate) fn begin(&self) -> &mpsc::Sender<Announcement> {
        self.queue.get_or_init(|| {
            let (sender, queue) = mpsc::channel(MAX_WAITING);
            tokio::spawn(send_all(Arc::clone(&self.database), queue));
            sender
        })
    }

    /// Sends a hint after all earlier ones. The claim does not wait for it.
    pub(crate) fn announce(&self, channel: String, payload: String) {
        let _missed_when_full = self.begin().try_send((channel, payload));
    }
}

async fn send_all(database: Arc<Database>, mut queue: mpsc::Receiver<Announcement>) {
    let mut open = connected(&database).await;
    let mut announcements = Vec::new();
    while queue.recv_many(&mut announcements, MAX_WAITING).await > 0 {
        let client = match open.take().filter(|client| !client.is_closed()) {
            Some(client) => Some(client),
            None => connected(&database).await,
        };
        let due = mem::take(&mut announcements);
        let Some(client) = client else { continue };
        // Apart from the claims: a commit with a notification takes a lock that all other such commits of the
        // server wait for. For the same reason all hints of a round are in one.
        if let Ok(Ok(())) = timeout(database.call_timeout(), notify(&client, due)).await {
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

/// Sends notifications in one transaction.
pub(crate) async fn notify(
    client: &Client,
    announcements: Vec<Announcement>,
) -> Result<(), tokio_postgres::Error> {
    let (channels, payloads): (Vec<_>, Vec<_>) = announcements.into_iter().unzip();
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&channels, Type::TEXT_ARRAY), (&payloads, Type::TEXT_ARRAY)];
    client.query_typed(NOTIFY, &parameters).await.map(drop)
}
