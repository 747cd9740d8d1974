//! What the user decides about failures, checkpoints and order, and the decisions that follow. Pure.

pub(crate) mod bisection;
pub(crate) mod checkpoints;
pub(crate) mod concurrency;
pub(crate) mod failure;
pub(crate) mod rate;
pub(crate) mod window;
