//! What the end-to-end tests share.

mod output;
mod process;
mod storage;
mod world;

use std::time::Duration;

pub use output::{Output, Rows};
pub use process::{Consumer, Said, distinct};
pub use storage::Storage;
pub use world::{HUB, World};

/// The longest that an end-to-end test may take.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until a condition holds. The time limit is that of the test.
pub async fn until(condition: impl Fn() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    while !condition() {
        looks.tick().await;
    }
}
