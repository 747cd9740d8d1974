//! The SQLite store on real files, from several threads and processes.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod conformance;
