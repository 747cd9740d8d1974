//! `cargo xtask test`.

use crate::shell::{Result, cargo, run, target};
use crate::system::Missing;
use crate::tools;

/// Installs the foreign programs that the tests need, then runs all tests; `arguments` go to `cargo test`.
pub(crate) fn all(arguments: &[&str], missing: Missing) -> Result<()> {
    tools::install(&target()?, missing)?;
    run(cargo(["test", "--workspace"]).args(arguments))
}
