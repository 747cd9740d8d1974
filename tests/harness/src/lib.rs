//! What the tests of several crates share: foreign servers and programs that end with the test, and limits of time.

mod azurite;
mod limit;
mod python;

pub use azurite::{Azurite, AzuriteBuilder};
pub use limit::within;
pub use python::{interpreter, run_python};
