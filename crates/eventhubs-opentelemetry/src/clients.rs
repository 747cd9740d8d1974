//! The clients that are observed, whose status is read when the metrics are exported.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eventhubs::Status;
use eventhubs::status::StatusReader;
use tokio::time::Instant;

/// For how long a status serves: as long as one export takes, so that all its metrics are of one moment.
const SERVES_FOR: Duration = Duration::from_millis(500);

/// The clients that are observed.
#[derive(Debug, Default)]
pub(crate) struct Clients(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    readers: Vec<StatusReader>,
    last: Option<(Instant, Arc<[Status]>)>,
}

impl Clients {
    pub(crate) fn add(&self, reader: StatusReader) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.readers.push(reader);
        state.last = None;
    }

    /// The status of each client that still exists.
    pub(crate) fn statuses(&self) -> Arc<[Status]> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, statuses)) = state.last.as_ref().filter(|(read, _)| read.elapsed() < SERVES_FOR) {
            return Arc::clone(statuses);
        }
        let mut statuses = Vec::new();
        state.readers.retain(|reader| {
            let status = reader.status();
            let exists = status.is_some();
            statuses.extend(status);
            exists
        });
        let statuses: Arc<[Status]> = statuses.into();
        state.last = Some((Instant::now(), Arc::clone(&statuses)));
        statuses
    }
}
