//! When to send a request again.

use std::future::Future;
use std::time::Duration;

use eventhubs_checkpoint_store::{Error, Result};

/// How often one request is sent, the first time included.
const MAX_ATTEMPTS: u32 = 4;

/// The longest pause before the second attempt; each later one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// A service that asks for a longer pause than this is left alone, and the caller is told.
const MAX_ASKED: Duration = Duration::from_secs(2);

/// Sends a request, one that may be sent twice, until it succeeds or another attempt makes no sense.
pub(crate) async fn retry<T, F>(request: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut attempts = Attempts::default();
    loop {
        match request().await {
            Err(error) => attempts.after(error).await?,
            success => return success,
        }
    }
}

/// The attempts of one request so far.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    failed: u32,
}

impl Attempts {
    /// Whether an attempt failed; the service may have done what it asked for.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed > 0
    }

    /// Waits until the next attempt is due.
    ///
    /// # Errors
    /// The error given, if another attempt would be one too many, too early or of no use.
    pub(crate) async fn after(&mut self, error: Error) -> Result<()> {
        self.failed += 1;
        let Some(pause) = pause(&error, self.failed, jitter()) else {
            return Err(error);
        };
        tracing::debug!(%error, attempt = self.failed, "the request is sent again");
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// The pause after this many failures; `None` to give up.
fn pause(error: &Error, failed: u32, jitter: f64) -> Option<Duration> {
    let asked = error.retry_after().unwrap_or_default();
    if failed >= MAX_ATTEMPTS || !error.is_transient() || asked > MAX_ASKED {
        return None;
    }
    Some(asked + (FIRST_PAUSE * 2_u32.pow(failed - 1)).mul_f64(jitter))
}

/// Instances that failed together shall not come back together; no decision hangs on this number.
fn jitter() -> f64 {
    rand::random_range(0.5..=1.0)
}

#[cfg(test)]
mod tests {
    use eventhubs_checkpoint_store::ErrorKind;

    use super::*;

    fn throttled(seconds: u64) -> Error {
        Error::new(ErrorKind::Throttled, "test").with_retry_after(Duration::from_secs(seconds))
    }

    #[test]
    fn pauses_grow_and_end() {
        let error = Error::new(ErrorKind::Unavailable, "test");
        let pauses: Vec<_> =
            (1..=4).map(|failed| pause(&error, failed, 1.0).map(|pause| pause.as_millis())).collect();
        assert_eq!(pauses, [Some(200), Some(400), Some(800), None]);
    }

    #[test]
    fn what_the_service_asks_for_is_kept_if_it_is_short() {
        assert_eq!(pause(&throttled(1), 1, 0.5), Some(Duration::from_millis(1_100)));
        assert_eq!(pause(&throttled(3), 1, 0.5), None);
    }

    #[test]
    fn a_lasting_error_is_not_tried_again() {
        assert_eq!(pause(&Error::new(ErrorKind::Unauthorized, "test"), 1, 1.0), None);
    }
}
