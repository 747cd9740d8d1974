//! The Redis store against real servers.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod access;
mod cluster;
mod conformance;
mod fail_over;
mod log;
mod outages;
mod proxy;
mod records;
mod replicas;
mod scene;
mod warnings;
mod watching;
