//! The randomness and the wall clock of the process, each read in one place.

use std::time::SystemTime;

use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// Returns a fresh source of random numbers, for ids and jitter.
#[expect(clippy::disallowed_methods, reason = "the one place that seeds the facade's randomness")]
pub(crate) fn entropy() -> StdRng {
    StdRng::from_rng(&mut rand::rng())
}

/// Returns the time of day, for what people read, and to wait for a time that they set.
#[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}
