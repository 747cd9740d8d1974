//! What to do when something fails: the error of this crate, what each condition means, and the attempts that
//! follow.

pub(crate) mod attempts;
pub(crate) mod conditions;
pub(crate) mod error;
pub(crate) mod kind;
pub(crate) mod retry;
