//! Trying again: how often, after which waits, and when to say so.
//!
//! Tests: `receiver/tests.rs`, under a clock of its own.

use futures::future::BoxFuture;
use tokio::time::sleep;
use tracing::warn;

use crate::recovery::conditions::Recovery;
use crate::runtime::ambient;
use crate::{Error, Result, RetryPolicy};

/// How many failures in a row are logged, each of them.
const ALWAYS_LOGGED: u32 = 3;

/// The failures since something last went well.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Failures {
    in_a_row: u32,
    unreported: u32,
    reauthorized: bool,
}

impl Failures {
    /// Counts a failure, and says whether to try again before anybody is told: up to `max_retries` times, and
    /// as often again after each report.
    pub(crate) fn allow_retry(&mut self, error: &Error, max_retries: u32) -> bool {
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.unreported = self.unreported.saturating_add(1);
        match error.recovery() {
            Recovery::Final | Recovery::Stolen => false,
            // Once: a second refusal is not about the age of the token.
            Recovery::Reauthorize => !std::mem::replace(&mut self.reauthorized, true),
            Recovery::Retry | Recovery::Reattach | Recovery::Reconnect => {
                // Behind a failure of another kind, a refusal says nothing of the token that was fresh before
                // it.
                self.reauthorized = false;
                let allowed = self.unreported <= max_retries;
                if !allowed {
                    self.unreported = 0;
                }
                allowed
            }
        }
    }

    /// Forgets all failures: something went well.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Tries until it works, or until the failures must be reported. `attempt` is told whether to use a fresh
/// token.
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
            // Each of the first failures, and then less and less often.
            if failures.in_a_row <= ALWAYS_LOGGED || failures.in_a_row.is_power_of_two() {
                warn!(%error, failures = failures.in_a_row, ?wait, "an attempt failed and is made again");
            }
            sleep(wait).await;
            fresh = error.recovery() == Recovery::Reauthorize;
        }
        match attempt(fresh).await {
            Ok(done) => return Ok(done),
            Err(error) if failures.allow_retry(&error, policy.retries()) => cause = Some(error),
            Err(error) => return Err(error),
        }
    }
}
