//! Where the handles of one test find their common storage.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tempfile::TempDir;

/// The storage of one test. Each handle that is opened with the same place must see the same records, and a
/// handle of another place none of them.
///
/// A store uses what fits it: the name for a container, a schema or the beginning of a key; the folder for
/// files; [`shared`](Self::shared) for storage that lives in the process.
#[derive(Clone)]
pub struct Place {
    name: Arc<str>,
    folder: Arc<OnceLock<TempDir>>,
    shared: Arc<Mutex<BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>>>,
}

impl Place {
    /// A place that nobody used before. The suite has its own; this is for the other tests of a store.
    pub fn unused() -> Self {
        let name = format!("testkit{:016x}", unique()).into();
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

    /// The one value of this type that all handles share, for storage in memory. The first call makes it, and
    /// a simulated restart of the process forgets it.
    ///
    /// # Panics
    /// Never: a value is found by its own type.
    pub fn shared<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let mut values = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        // By type, so that a store and what a test counts in it can share one place.
        let value = values.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(make()));
        Arc::clone(value).downcast().expect("a value is kept under its own type")
    }

    /// Forgets what lived in the process.
    pub(crate) fn restart(&self) {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A number that nobody else has. The keys of a `RandomState` differ in each thread and process, and from one
/// to the next, which is all that is needed here.
pub(crate) fn unique() -> u64 {
    RandomState::new().hash_one("place")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_a_value_until_the_restart() {
        let place = Place::unused();
        let first = place.clone().shared(|| 1_u8);
        assert_eq!((*first, *place.shared(|| 2_u8), *place.shared(|| 3_u16)), (1, 1, 3));
        place.restart();
        assert_eq!(*place.shared(|| 2_u8), 2);
    }

    #[test]
    fn the_folder_is_one_and_goes_with_the_place() {
        let place = Place::unused();
        let folder = place.folder().to_owned();
        assert_eq!(place.clone().folder(), folder);
        drop(place);
        assert!(!folder.exists());
    }
}
