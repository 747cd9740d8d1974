//! The scripts: what Redis does in one step, with its own clock.

use std::fmt;

use redis::Script;

/// What all of them begin with.
macro_rules! script {
    ($name:literal) => {
        concat!(include_str!("scripts/version.lua"), include_str!(concat!("scripts/", $name, ".lua")))
    };
}

/// The text of the script that [`Link::confirm`](crate::link::Link::confirm) sends.
pub(crate) const TOUCH: &str = script!("touch");

/// All scripts with their hashes.
pub(crate) struct Scripts {
    pub(crate) write: Script,
    pub(crate) list: Script,
    pub(crate) read: Script,
    pub(crate) delete: Script,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self {
            write: Script::new(script!("write")),
            list: Script::new(script!("list")),
            read: Script::new(script!("read")),
            delete: Script::new(script!("delete")),
        }
    }
}

impl fmt::Debug for Scripts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripts").finish_non_exhaustive()
    }
}
