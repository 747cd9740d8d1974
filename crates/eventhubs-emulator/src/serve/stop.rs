use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use crate::condition::Condition;

/// Asks a task to end its link, session or connection, and says why. The first reason counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    reason: Arc<OnceLock<Condition>>,
    asked: CancellationToken,
}

impl Stop {
    pub(crate) fn stop(&self, reason: Condition) {
        // In this order: who is woken by the token reads the reason.
        self.reason.get_or_init(|| reason);
        self.asked.cancel();
    }

    /// Waits until the task is asked to end.
    pub(crate) async fn stopped(&self) -> Condition {
        self.asked.cancelled().await;
        self.reason.get().expect("the reason is set before the token is cancelled").clone()
    }
}
