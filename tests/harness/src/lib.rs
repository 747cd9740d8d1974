//! What the tests of several crates share: foreign servers and programs that end with the test, and limits of
//! time.

mod again;
mod azurite;
mod installed;
mod limit;
mod lossy_proxy;
mod postgres;
mod python;
mod redis;
mod supervised;

pub use again::{Begun, again, assert_all_succeed, begin, begun, until_said};
pub use azurite::{Azurite, AzuriteBuilder};
pub use installed::{installed, interpreter};
pub use limit::{PATIENCE, seeing, until, until_async, within};
pub use lossy_proxy::LossyProxy;
pub use postgres::{PgBouncer, Postgres};
pub use python::run_python;
pub use redis::{RedisCluster, RedisServer, RedisServerBuilder};
