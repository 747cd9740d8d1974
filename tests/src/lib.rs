//! What the end-to-end tests share.

mod output;
mod process;
mod storage;
mod world;

pub use output::{Output, Rows};
pub use process::{Consumer, Said, distinct};
pub use storage::Storage;
pub use world::{HUB, World};
