use std::panic::Location;
use std::time::Duration;

use tokio::time::timeout;

/// What `future` returns; a test that hangs ends here, instead of holding all the others.
///
/// # Panics
/// After `limit`, with the place of the call.
///
/// # Cancel safety
/// As cancel safe as `future`.
#[track_caller]
pub fn within<F: Future>(limit: Duration, future: F) -> impl Future<Output = F::Output> {
    let place = Location::caller();
    async move {
        timeout(limit, future).await.unwrap_or_else(|_| panic!("{place}: still waiting after {limit:?}"))
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "still waiting after 5s")]
    async fn a_wait_without_end_panics_with_its_place() {
        within(Duration::from_secs(5), pending::<()>()).await;
    }

    #[tokio::test]
    async fn what_ends_in_time_returns_its_value() {
        assert_eq!(within(Duration::from_secs(5), async { 7 }).await, 7);
    }
}
