//! What the process and its runtime give: the clock, randomness, the environment, tasks.

pub(crate) mod ambient;
pub(crate) mod task;
