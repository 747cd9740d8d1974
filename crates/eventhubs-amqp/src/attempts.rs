//! Trying again: how often, after which waits, and when to say so.

use futures::future::BoxFuture;
use tokio::time::sleep;
use tracing::debug;

use crate::recovery::Recovery;
use crate::{Error, Result, RetryPolicy, ambient};

/// The failures since something last went well.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Failures {
    in_a_row: u32,
    unreported: u32,
    reauthorized: bool,
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Try again after a wait.
    Retry,
    /// Tell the caller now; trying again is still worth it.
    Report,
    /// It is over.
    GiveUp,
}

impl Failures {
    /// Counts a failure. An error is reported after `max_retries` retries in vain, and after as many more each time.
    pub(crate) fn note(&mut self, error: &Error, max_retries: u32) -> Next {
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.unreported = self.unreported.saturating_add(1);
        match error.recovery() {
            Recovery::Final | Recovery::Stolen => Next::GiveUp,
            Recovery::Reauthorize if self.reauthorized => Next::GiveUp,
            Recovery::Reauthorize => {
                self.reauthorized = true;
                Next::Retry
            }
            Recovery::Retry | Recovery::Reattach | Recovery::Reconnect if self.unreported > max_retries => {
                self.unreported = 0;
                Next::Report
            }
            Recovery::Retry | Recovery::Reattach | Recovery::Reconnect => Next::Retry,
        }
    }

    /// Forgets all failures: something went well.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Tries until it works, or until the failures must be reported. `attempt` is told whether to use a fresh token.
///
/// `cause` is the failure that went before, already noted: the first try waits for its sake.
pub(crate) async fn retrying<T>(
    policy: &RetryPolicy,
    failures: &mut Failures,
    mut cause: Option<Error>,
    attempt: impl Fn(bool) -> BoxFuture<'static, Result<T>> + Send,
) -> Result<T> {
    loop {
        let mut fresh = false;
        if let Some(error) = &cause {
            let wait = policy.wait(failures.in_a_row.saturating_sub(1), error, &mut ambient::rng());
            debug!(%error, ?wait, "trying again");
            sleep(wait).await;
            fresh = error.recovery() == Recovery::Reauthorize;
        }
        match attempt(fresh).await {
            Ok(done) => return Ok(done),
            Err(error) if failures.note(&error, policy.retries()) == Next::Retry => cause = Some(error),
            Err(error) => return Err(error),
        }
    }
}
