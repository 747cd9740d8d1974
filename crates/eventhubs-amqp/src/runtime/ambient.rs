//! The wall clock, the randomness and the proxies of the process: read here and given to the rest as
//! arguments.

use std::time::SystemTime;

#[cfg(feature = "websocket")]
use hyper_util::client::proxy::matcher::Matcher;
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

/// The proxies of `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, as the HTTP client of the blob
/// store reads them.
#[cfg(feature = "websocket")]
pub(crate) fn proxies() -> Matcher {
    Matcher::from_env()
}
