//! What a listing of one kind of record found.

use std::collections::BTreeMap;
use std::time::SystemTime;

use eventhubs_checkpoint_store::RejectedRecord;
use eventhubs_types::PartitionId;

use crate::backend::{Blob, Page};
use crate::names;

/// The longest name of a blob that is reported, in characters.
pub(crate) const MAX_REPORTED_NAME: usize = 256;

/// All blobs of one kind in a scope.
#[derive(Default)]
pub(crate) struct Listing {
    pub(crate) found: BTreeMap<PartitionId, Blob>,
    pub(crate) rejected: Vec<RejectedRecord>,
    pub(crate) now: Option<SystemTime>,
}

impl Listing {
    pub(crate) fn len(&self) -> usize {
        self.found.len() + self.rejected.len()
    }

    /// Takes over a page; gives where the next one starts.
    pub(crate) fn add_page(&mut self, prefix: &str, page: Page) -> Option<String> {
        // The first page's clock, for a record that is renewed meanwhile must not look older than it is.
        self.now = self.now.or(page.now);
        for record in page.rejected {
            self.reject(&record.name, &record.reason);
        }
        for blob in page.blobs {
            self.add(prefix, blob);
        }
        page.next
    }

    fn add(&mut self, prefix: &str, blob: Blob) {
        match names::partition(prefix, &blob.name) {
            Ok(partition) => drop(self.found.insert(partition, blob)),
            Err(reason) => self.reject(&blob.name, &reason),
        }
    }

    pub(crate) fn reject(&mut self, name: &str, reason: &str) {
        let name: String = name.chars().take(MAX_REPORTED_NAME).collect();
        self.rejected.push(RejectedRecord::new(name, reason));
    }
}
