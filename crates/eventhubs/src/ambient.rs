//! The randomness of the process, read in one place.

use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// Returns a fresh source of random numbers, for ids and jitter.
#[expect(clippy::disallowed_methods, reason = "the one place that seeds the facade's randomness")]
pub(crate) fn entropy() -> StdRng {
    StdRng::from_rng(&mut rand::rng())
}
