//! What `cargo xtask test` installs.

use std::env;
use std::path::PathBuf;

/// Something in cargo's target folder, which the running program was built into.
///
/// # Panics
/// If it is not there.
pub fn installed(path: &str) -> PathBuf {
    let program = env::current_exe().expect("the path of this program");
    let mut places = program.ancestors().map(|folder| folder.join(path));
    let found = places.find(|place| place.exists());
    found.unwrap_or_else(|| panic!("{path} is not installed; run `cargo xtask test` once, it installs it"))
}

/// The interpreter that has the packages of `tests/python/requirements.txt`.
///
/// # Panics
/// If it is not installed.
pub fn interpreter() -> PathBuf {
    installed("python/bin/python")
}
