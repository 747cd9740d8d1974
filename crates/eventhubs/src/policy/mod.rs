//! What the user decides about failures, checkpoints, order and the end of a run, and the decisions that follow. Pure.

pub(crate) mod bisection;
pub(crate) mod checkpoints;
pub(crate) mod concurrency;
pub(crate) mod failure;
pub(crate) mod quiet;
pub(crate) mod rate;
pub(crate) mod until;
pub(crate) mod window;
