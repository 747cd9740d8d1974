//! The public API beyond starting and stopping: more `impl Emulator`, each file for one use.

pub(crate) mod admin;
pub(crate) mod fault;
pub(crate) mod inject;
pub(crate) mod inspect;
pub(crate) mod schedule;
