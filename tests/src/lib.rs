//! What the end-to-end tests share.

mod process;
mod world;

use std::future::Future;
use std::time::Duration;

pub use process::{Consumer, Said, distinct};
pub use world::{HUB, World};

/// The longest that an end-to-end test may take.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a test under its time limit.
///
/// # Panics
/// If the limit passes.
pub async fn within<T>(limit: Duration, test: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(limit, test).await;
    done.unwrap_or_else(|_| panic!("the test was not done after {limit:?}"))
}

/// Waits until a condition holds. The time limit is that of the test.
pub async fn until(condition: impl Fn() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    while !condition() {
        looks.tick().await;
    }
}
