//! Where one test has its letters.

use std::any::Any;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use tempfile::TempDir;

/// The storage of one test. A sink uses what fits it: the name for a table or an event hub, the folder for files,
/// [`shared`](Self::shared) for a server that lives in the process. All of it outlives a simulated restart.
#[derive(Clone)]
pub struct Place {
    name: Arc<str>,
    folder: Arc<OnceLock<TempDir>>,
    shared: Arc<OnceLock<Arc<dyn Any + Send + Sync>>>,
}

impl Place {
    pub(crate) fn unused() -> Self {
        // The keys of a `RandomState` differ in each thread and process, and from one to the next.
        let name = format!("letters{:016x}", RandomState::new().hash_one("place")).into();
        Self { name, folder: Arc::default(), shared: Arc::default() }
    }

    /// A name that no other place has: 23 lower-case letters and digits, the first one a letter.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A folder that belongs to the place. It is created by the first call, and removed after the test.
    ///
    /// # Panics
    /// If it cannot be created.
    pub fn folder(&self) -> &Path {
        let create = || tempfile::tempdir().expect("a temporary folder can be created");
        self.folder.get_or_init(create).path()
    }

    /// The one value that all calls with this place share; the first call sets it.
    ///
    /// # Panics
    /// If it is asked for a value of another type.
    pub fn shared<T: Send + Sync + 'static>(&self, value: impl FnOnce() -> T) -> Arc<T> {
        let shared = self.shared.get_or_init(|| Arc::new(value()));
        Arc::clone(shared).downcast().expect("a place shares one value")
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("name", &self.name).finish_non_exhaustive()
    }
}
