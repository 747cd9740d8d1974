//! What the tests of several crates share: foreign servers and programs that end with the test, and limits of
//! time.

mod azurite;
mod installed;
mod limit;
mod python;
mod redis;

pub use azurite::{Azurite, AzuriteBuilder};
pub use installed::{installed, interpreter};
pub use limit::{PATIENCE, until, within};
pub use python::run_python;
pub use redis::{RedisCluster, RedisServer, RedisServerBuilder};
