//! The wall clock and the randomness of the process: read here and given to the rest as arguments.

use std::time::SystemTime;

use rand::{Rng, RngExt};

#[expect(clippy::disallowed_methods, reason = "the edge to the system: tokens expire by the wall clock")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

#[expect(clippy::disallowed_methods, reason = "the edge to the system: jitter and names need no seed here")]
pub(crate) fn rng() -> impl Rng {
    rand::rng()
}

/// Eight hex digits that tell names apart.
pub(crate) fn suffix() -> String {
    format!("{:08x}", rng().random::<u32>())
}
