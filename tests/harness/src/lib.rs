//! Starts the foreign servers that the tests of several crates talk to, and ends them with the test.

mod azurite;

pub use azurite::{Azurite, AzuriteBuilder};
