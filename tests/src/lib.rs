//! What the end-to-end tests share.

mod limit;
mod python;

pub use limit::within;
pub use python::run_python;
