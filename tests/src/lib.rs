//! What the end-to-end tests share.

mod check;
mod output;
mod process;
mod record;
mod recording_store;
mod storage;
mod world;

pub use check::{Broken, Findings, Letter, Promise, Published, Sent, check};
pub use output::{Output, Rows};
pub use process::{Consumer, Said, distinct};
pub use record::{Deed, Line, Recorder, digest, read_lines};
pub use recording_store::RecordingStore;
pub use storage::Storage;
pub use world::{HUB, World};
