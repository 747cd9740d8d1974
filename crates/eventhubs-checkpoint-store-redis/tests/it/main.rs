//! The Redis store against real servers.

mod conformance;
mod scene;
