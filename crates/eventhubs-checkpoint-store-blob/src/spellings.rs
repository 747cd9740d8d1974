//! Whether another SDK keeps its records of the same scope in another spelling, so that each event is handled
//! twice and nobody says so.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use eventhubs_types::ConsumerScope;

use crate::backend::BlobBackend;
use crate::names::{self, Kind, Naming};

/// How many scopes are remembered; a store has one as a rule.
const MAX_SCOPES: usize = 64;

/// The scopes that were looked at.
#[derive(Debug, Default)]
pub(crate) struct Spellings(Mutex<BTreeSet<ConsumerScope>>);

impl Spellings {
    /// Looks once for each scope, with one request at most. A look that fails is none: the listing itself
    /// tells what is wrong.
    pub(crate) async fn look(&self, backend: &dyn BlobBackend, scope: &ConsumerScope, naming: Naming) {
        let ours = names::prefix(scope, Kind::Ownership, naming);
        let theirs = names::prefix(scope, Kind::Ownership, naming.other());
        if ours == theirs || !self.is_new(scope) {
            return;
        }
        let Ok(page) = backend.list(&theirs, None).await else { return };
        if page.blobs.is_empty() && page.rejected.is_empty() {
            return;
        }
        let folder = theirs.trim_end_matches("ownership/");
        tracing::warn!(
            theirs = folder,
            ours = ours.trim_end_matches("ownership/"),
            "another SDK keeps its records of this consumer group in another spelling, so both handle every event: give \
             {:?} as the naming of the blob store, or write the names in lower case there",
            naming.other()
        );
    }

    fn is_new(&self, scope: &ConsumerScope) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.len() < MAX_SCOPES && seen.insert(scope.clone())
    }
}
