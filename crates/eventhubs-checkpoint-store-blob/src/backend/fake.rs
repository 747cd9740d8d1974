//! A blob service in memory with the same conditions, for faults that a real one cannot be made to have.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::SystemTime;

use eventhubs_checkpoint_store::{Error, Expected, Result, Version, async_trait};

use super::{Blob, BlobBackend, Page, Stamp};
use crate::records::Metadata;

/// What happens to the next requests, one each.
pub(crate) enum Fault {
    /// It goes well.
    None,
    /// It fails and has no effect.
    Before(Error),
    /// It has its effect, but the answer is lost.
    After(Error),
    /// It has its effect, somebody else writes right after it, and the answer is lost.
    Overtaken(Error, Metadata),
    /// No answer ever.
    Hang,
}

#[derive(Default)]
pub(crate) struct FakeBackend {
    page_size: Option<usize>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    writes: u64,
    requests: u32,
    blobs: BTreeMap<String, Blob>,
    contents: BTreeMap<String, Vec<u8>>,
    faults: VecDeque<Fault>,
}

impl FakeBackend {
    pub(crate) fn with_faults(faults: impl IntoIterator<Item = Fault>) -> Self {
        let fake = Self::default();
        fake.state().faults.extend(faults);
        fake
    }

    /// Lists this many blobs a page.
    pub(crate) fn with_pages_of(page_size: usize) -> Self {
        Self { page_size: Some(page_size), ..Self::default() }
    }

    /// Puts a blob there as somebody else would.
    pub(crate) fn put(&self, name: &str, metadata: Metadata) -> Stamp {
        self.state().put(name, metadata)
    }

    /// Puts a blob with this content there as an older SDK would.
    pub(crate) fn fill(&self, name: &str, content: &str) {
        self.put(name, Metadata::default());
        self.state().contents.insert(name.to_owned(), content.into());
    }

    /// How many requests came in.
    pub(crate) fn requests(&self) -> u32 {
        self.state().requests
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn request<T>(&self, name: &str, effect: impl FnOnce(&mut State) -> T) -> Result<T> {
        let fault = {
            let mut state = self.state();
            state.requests += 1;
            state.faults.pop_front().unwrap_or(Fault::None)
        };
        match fault {
            Fault::None => Ok(effect(&mut self.state())),
            Fault::Before(error) => Err(error),
            Fault::After(error) => {
                effect(&mut self.state());
                Err(error)
            }
            Fault::Overtaken(error, metadata) => {
                effect(&mut self.state());
                self.put(name, metadata);
                Err(error)
            }
            Fault::Hang => std::future::pending().await,
        }
    }
}

impl State {
    fn put(&mut self, name: &str, metadata: Metadata) -> Stamp {
        self.writes += 1;
        let stamp = Stamp {
            version: Version::new(self.writes.to_string()),
            modified: Some(SystemTime::UNIX_EPOCH),
            is_versioned: false,
        };
        let blob = Blob { name: name.to_owned(), metadata, stamp: stamp.clone() };
        self.blobs.insert(name.to_owned(), blob);
        stamp
    }

    fn is_as(&self, name: &str, expected: &Expected) -> bool {
        match (self.blobs.get(name), expected) {
            (None, Expected::Absent) => true,
            (Some(blob), Expected::Version(version)) => blob.stamp.version == *version,
            _ => false,
        }
    }
}

impl std::fmt::Debug for FakeBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeBackend")
    }
}

#[async_trait]
impl BlobBackend for FakeBackend {
    async fn create_container(&self) -> Result<()> {
        self.request("", |_| ()).await
    }

    async fn write(&self, name: &str, metadata: &Metadata, expected: &Expected) -> Result<Option<Stamp>> {
        self.request(name, |state| state.is_as(name, expected).then(|| state.put(name, metadata.clone())))
            .await
    }

    async fn read(&self, name: &str) -> Result<Option<Blob>> {
        self.request(name, |state| state.blobs.get(name).cloned()).await
    }

    async fn content(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.request(name, |state| state.contents.get(name).cloned()).await
    }

    async fn delete(&self, name: &str, version: &Version) -> Result<bool> {
        self.request(name, |state| {
            let is_as = state.is_as(name, &Expected::Version(version.clone()));
            is_as && state.blobs.remove(name).is_some()
        })
        .await
    }

    async fn list(&self, prefix: &str, marker: Option<&str>) -> Result<Page> {
        self.request(prefix, |state| {
            let after = |blob: &&Blob| blob.name.starts_with(prefix) && Some(&*blob.name) > marker;
            let blobs: Vec<_> =
                state.blobs.values().filter(after).take(self.page_size.unwrap_or(1_000)).cloned().collect();
            // A last page without blobs is legal.
            let next = blobs.last().map(|blob| blob.name.clone());
            Page { blobs, next, now: Some(SystemTime::UNIX_EPOCH), ..Page::default() }
        })
        .await
    }

    async fn list_folder(&self, prefix: &str, _marker: Option<&str>) -> Result<Page> {
        self.request(prefix, |state| {
            let mut page = Page::default();
            for blob in state.blobs.values() {
                let Some(rest) = blob.name.strip_prefix(prefix) else { continue };
                match rest.split_once('/') {
                    None => page.blobs.push(blob.clone()),
                    Some((folder, _)) => page.folders.push(format!("{prefix}{folder}/")),
                }
            }
            page.folders.dedup();
            page
        })
        .await
    }
}
