//! Those who watch a store, and the looks into the file while there are any.

use std::time::Duration;

use eventhubs_checkpoint_store::{BoxStream, Hint};
use eventhubs_types::ConsumerScope;
use futures_util::StreamExt as _;
use futures_util::stream;
use rusqlite::Connection;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::hints;

/// How often the file is looked at for commits of others while somebody watches.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How many hints one that watches may be late; it misses what is more.
const MAX_LATE: usize = 256;

/// Where the thread of a store gives its hints to all who watch.
#[derive(Debug, Clone)]
pub(crate) struct Watchers(broadcast::Sender<(ConsumerScope, Hint)>);

impl Watchers {
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(MAX_LATE))
    }

    pub(crate) fn any(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// The hints of one scope in lower case. Silent forever once the store is gone.
    pub(crate) fn watch(&self, scope: ConsumerScope) -> BoxStream<'static, Hint> {
        let all = stream::unfold(self.0.subscribe(), |mut receiver| async move {
            loop {
                match receiver.recv().await {
                    Ok(next) => return Some((next, receiver)),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        });
        let in_scope = all.filter_map(move |(of, hint)| std::future::ready((of == scope).then_some(hint)));
        in_scope.chain(stream::pending()).boxed()
    }
}

/// What the thread has seen of the hints in the file.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    /// `None` while nobody watches.
    last_hint: Option<i64>,
    /// SQLite's number of the last commit of others.
    data_version: Option<i64>,
}

impl Looks {
    /// Tells the watchers what is new. `has_worked` says that this connection may have committed something,
    /// which does not count for the number of SQLite.
    pub(crate) fn look(&mut self, connection: &Connection, watchers: &Watchers, has_worked: bool) {
        if !watchers.any() {
            *self = Self::default();
            return;
        }
        if let Err(error) = self.try_look(connection, watchers, has_worked) {
            tracing::debug!(%error, "the hints cannot be read");
        }
    }

    fn try_look(
        &mut self,
        connection: &Connection,
        watchers: &Watchers,
        has_worked: bool,
    ) -> rusqlite::Result<()> {
        let data_version =
            connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        // The number costs 2 µs, so that a watch costs nothing while all is quiet.
        if self.data_version == Some(data_version) && !has_worked {
            return Ok(());
        }
        let from = match self.last_hint {
            Some(last) => last,
            None => hints::beginning(connection)?,
        };
        let (found, last) = hints::after(connection, from)?;
        *self = Self { last_hint: Some(last), data_version: Some(data_version) };
        for hint in found {
            // The last one may have gone meanwhile.
            let _ = watchers.0.send(hint);
        }
        Ok(())
    }
}
