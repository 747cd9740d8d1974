//! The store on top of a backend: names, records, retries, and writes whose answer was lost.

use std::borrow::Cow;
use std::future::Future;
use std::sync::{Arc, Once};
use std::time::Duration;

use eventhubs_checkpoint_store::{
    Checkpoint, CheckpointOutcome, CheckpointStore, Claim, ClaimOutcome, DeleteOutcome, Error, ErrorKind,
    Expected, Ownership, OwnershipList, RejectedRecord, Result, Version, async_trait,
};
use eventhubs_types::{ConsumerScope, PartitionId};
use tokio::time::timeout;

use crate::access::Access;
use crate::account::{Connection, Credential, Secret};
use crate::backend::{Blob, BlobBackend, MAX_PAGES, Stamp};
use crate::listing::Listing;
use crate::names::{self, Kind, Naming};
use crate::older::{self, Older};
use crate::records::{self, Metadata};
use crate::retry::{Attempts, retry};
use crate::spellings::Spellings;
use crate::tools;

/// The most blobs that a listing reads; the largest event hub has 2000 partitions. The rest is reported as
/// rejected.
pub const MAX_LISTED: usize = 8 * 1024;

/// How long the first call may take longer for the look at other spellings and older checkpoints.
const SPELLING_LIMIT: Duration = Duration::from_secs(2);

/// Ownership and checkpoints in a container of Azure Blob Storage.
///
/// The layout is the one that the Python, JavaScript, .NET and Java SDKs share, so that all of them can work
/// in one consumer group. Namespace, hub and group are written in lower case. The Go SDK and Microsoft's Rust
/// SDK keep the case as given; [`Naming::Verbatim`] shares a group with them. The first listing of a scope
/// looks once whether there are records in the other spelling, and warns.
///
/// A checkpoint should have both its offset and its sequence number, as those of every event do. One without
/// either is refused; half a one is written the way .NET does it, which the Python and JavaScript SDKs cannot
/// use.
///
/// The container has to exist; [`create_container_if_absent`](Self::create_container_if_absent) creates it.
///
/// # Features of the account
/// | feature | what becomes of it |
/// |---|---|
/// | soft delete | works, and costs nothing: blobs are changed in place, and only tools delete them |
/// | versioning | works, but each write leaves a version that is stored and paid for; a warning says so once |
/// | hierarchical namespace | works; directories are left out of listings |
/// | immutability policy, legal hold | cannot work: each write fails with an error that names it |
/// | archive tier, by a life-cycle rule | records in it cannot be changed; the error names it and the blob |
///
/// A clone shares the connections of the original.
///
/// # Time
/// Azure's clock tells the age of a record, in whole seconds.
///
/// # Retries
/// A request that failed for a passing reason is sent up to four times within the time limit of the call. If
/// the answer to a write was lost and the next attempt finds the record changed, one read tells whether it
/// was this very write that changed it.
///
/// # Cost
/// A claim, a checkpoint or the reading of one is one request, a listing one for each thousand partitions.
#[derive(Debug, Clone)]
pub struct BlobCheckpointStore {
    backend: Arc<dyn BlobBackend>,
    access: Arc<Access>,
    options: Options,
    spellings: Arc<Spellings>,
    older: Arc<Older>,
    versioning: Arc<Once>,
}

/// What does not depend on how the store was opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) naming: Naming,
    pub(crate) call_timeout: Duration,
    /// Whether a partition without a checkpoint starts from one of an older SDK.
    pub(crate) takes_older: bool,
}

impl BlobCheckpointStore {
    pub(crate) fn new(backend: Arc<dyn BlobBackend>, access: Arc<Access>, options: Options) -> Self {
        let (spellings, older, versioning) = (Arc::default(), Arc::default(), Arc::new(Once::new()));
        Self { backend, access, options, spellings, older, versioning }
    }

    /// Creates the container unless it is there. A shared access signature may not be enough for this.
    ///
    /// # Errors
    /// When the service refuses it or cannot be reached.
    ///
    /// # Cancel safety
    /// If dropped, the container may or may not have been created.
    pub async fn create_container_if_absent(&self) -> Result<()> {
        self.in_time(retry(|| self.backend.create_container())).await
    }

    /// Switches to the key or the signature of another connection string, so that keys can be rotated while the
    /// program runs. All clones use it from their next request on.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] when the connection string is unusable or for another account or
    /// endpoint, or this store was opened with a token credential.
    pub fn update_connection_string(&self, connection_string: &str) -> Result<()> {
        let Connection { account, credential } = Connection::parse(connection_string)?;
        let Credential::Given(secret) = credential else { return Ok(()) };
        let ours = self.access.account();
        // A key is only good for the account that it signs for; a signature names none.
        if account.endpoint != ours.endpoint || matches!(secret, Secret::Key(_)) && account.name != ours.name
        {
            return Err(invalid("connection string: is for another account or endpoint"));
        }
        self.access.exchange(secret).map_err(|reason| invalid(format!("connection string: {reason}")))
    }

    /// Switches to another shared access signature, with or without its `?`, as
    /// [`update_connection_string`](Self::update_connection_string) does.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] when there is no signature in it, or this store was opened with a token
    /// credential or with a key over plain http.
    pub fn update_shared_access_signature(&self, signature: &str) -> Result<()> {
        let exchanged = Secret::sas(signature).and_then(|secret| self.access.exchange(secret));
        exchanged.map_err(|reason| invalid(format!("signature: {reason}")))
    }

    async fn in_time<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let late = |_| {
            Error::new(
                ErrorKind::Timeout,
                format!("the call took longer than {:?}", self.options.call_timeout),
            )
        };
        timeout(self.options.call_timeout, call).await.map_err(late)?
    }

    /// Compares and swaps; `None` if the blob is not as expected.
    ///
    /// To send it again is safe: if an attempt took effect, the next one finds another version.
    async fn write(&self, name: &str, metadata: &Metadata, expected: &Expected) -> Result<Option<Stamp>> {
        let mut attempts = Attempts::default();
        loop {
            match self.backend.write(name, metadata, expected).await {
                Err(error) => attempts.after(error).await?,
                Ok(None) if attempts.has_failed() => {
                    return self.find_written(name, metadata, expected).await;
                }
                Ok(stamp) => {
                    self.look_at_versioning(stamp.as_ref());
                    return Ok(stamp);
                }
            }
        }
    }

    /// Says once that the account keeps what each write replaces.
    fn look_at_versioning(&self, stamp: Option<&Stamp>) {
        if stamp.is_some_and(|stamp| stamp.is_versioned) {
            self.versioning.call_once(|| {
                tracing::warn!(
                    "blob versioning is on: each claim and each checkpoint leaves a version that is stored and paid for; \
                     turn it off, or delete old versions by a life-cycle rule"
                );
            });
        }
    }

    /// Whether an attempt whose answer was lost is what changed the blob.
    async fn find_written(
        &self,
        name: &str,
        metadata: &Metadata,
        expected: &Expected,
    ) -> Result<Option<Stamp>> {
        let found = retry(|| self.backend.read(name)).await?;
        let is_new = |blob: &Blob| *expected != Expected::Version(blob.stamp.version.clone());
        let ours = found.filter(|blob| is_new(blob) && blob.metadata.says(metadata));
        Ok(ours.map(|blob| blob.stamp))
    }

    async fn list(&self, scope: &ConsumerScope, kind: Kind) -> Result<Listing> {
        let prefix = names::prefix(scope, kind, self.options.naming);
        let (mut listing, mut marker) = (Listing::default(), None);
        for _ in 0..MAX_PAGES {
            let page = retry(|| self.backend.list(&prefix, marker.as_deref())).await?;
            marker = listing.add_page(&prefix, page);
            if marker.is_none() || listing.len() >= MAX_LISTED {
                break;
            }
        }
        if marker.is_some() {
            listing.reject(&prefix, "there are too many blobs; the rest was not read");
        }
        Ok(listing)
    }

    async fn claim(&self, scope: &ConsumerScope, claim: &Claim) -> Result<Option<Ownership>> {
        let metadata = records::from_claim(claim)?;
        let name = names::blob(scope, Kind::Ownership, self.options.naming, &claim.partition);
        let stamp = self.in_time(self.write(&name, &metadata, &claim.expected)).await?;
        let won = |stamp: Stamp| {
            Ownership::new(claim.partition.clone(), claim.owner.clone(), stamp.version, stamp.modified)
                .with_mark(claim.mark.clone())
        };
        Ok(stamp.map(won))
    }
}

fn invalid(context: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidArgument, context)
}

fn checkpoint(partition: PartitionId, blob: Blob) -> Checkpoint {
    let (offset, sequence_number) = records::position(&blob.metadata);
    if offset.is_none() && sequence_number.is_none() {
        tracing::warn!(name = ?blob.name, "a checkpoint has no usable position");
    }
    Checkpoint::new(partition, offset, sequence_number).with_version(blob.stamp.version)
}

#[async_trait]
impl CheckpointStore for BlobCheckpointStore {
    async fn list_ownership(&self, scope: &ConsumerScope) -> Result<OwnershipList> {
        let Listing { found, rejected, now } = self.in_time(self.list(scope, Kind::Ownership)).await?;
        let looking = self.spellings.look(&*self.backend, scope, self.options.naming);
        let _ = timeout(SPELLING_LIMIT, looking).await;
        let records = found.into_iter().map(|(partition, Blob { metadata, stamp, .. })| {
            // A time that cannot be compared with the service's clock is worth nothing.
            let modified = stamp.modified.filter(|_| now.is_some());
            Ownership::new(partition, records::owner(&metadata), stamp.version, modified)
                .with_mark(records::mark(&metadata))
        });
        Ok(OwnershipList::new(records.collect(), now, rejected))
    }

    async fn claim_ownership(&self, scope: &ConsumerScope, claim: &Claim) -> ClaimOutcome {
        match self.claim(scope, claim).await {
            Ok(Some(ownership)) => ClaimOutcome::Won(ownership),
            Ok(None) => ClaimOutcome::Lost,
            Err(error) => ClaimOutcome::Failed(error),
        }
    }

    async fn list_checkpoints(&self, scope: &ConsumerScope) -> Result<Vec<Checkpoint>> {
        let Listing { found, rejected, .. } = self.in_time(self.list(scope, Kind::Checkpoint)).await?;
        for RejectedRecord { name, reason, .. } in rejected {
            tracing::warn!(?name, reason, "a checkpoint was rejected");
        }
        Ok(found.into_iter().map(|(partition, blob)| checkpoint(partition, blob)).collect())
    }

    async fn checkpoint(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Option<Checkpoint>> {
        let name = names::blob(scope, Kind::Checkpoint, self.options.naming, partition);
        let found = self.in_time(retry(|| self.backend.read(&name))).await?;
        if let Some(blob) = found {
            return Ok(Some(checkpoint(partition.clone(), blob)));
        }
        let Options { naming, takes_older, .. } = self.options;
        if takes_older {
            return self.in_time(older::find(&*self.backend, scope, naming, partition)).await;
        }
        let looking = self.older.look(&*self.backend, scope, naming, partition);
        let _ = timeout(SPELLING_LIMIT, looking).await;
        Ok(None)
    }

    async fn update_checkpoint(
        &self,
        scope: &ConsumerScope,
        checkpoint: &Checkpoint,
        expected: &Expected,
    ) -> Result<CheckpointOutcome> {
        let metadata = records::from_checkpoint(checkpoint)?;
        let name = names::blob(scope, Kind::Checkpoint, self.options.naming, &checkpoint.partition);
        let stamp = self.in_time(self.write(&name, &metadata, expected)).await?;
        Ok(stamp.map_or(CheckpointOutcome::Conflict, |stamp| CheckpointOutcome::Written(stamp.version)))
    }

    async fn delete_checkpoint(
        &self,
        scope: &ConsumerScope,
        partition: &PartitionId,
        version: &Version,
    ) -> Result<DeleteOutcome> {
        let name = names::blob(scope, Kind::Checkpoint, self.options.naming, partition);
        self.in_time(tools::delete(&*self.backend, &name, version)).await
    }

    async fn delete_ownership(
        &self,
        scope: &ConsumerScope,
        partition: &PartitionId,
        version: &Version,
    ) -> Result<DeleteOutcome> {
        let name = names::blob(scope, Kind::Ownership, self.options.naming, partition);
        self.in_time(tools::delete(&*self.backend, &name, version)).await
    }

    async fn list_scopes(&self) -> Result<Vec<ConsumerScope>> {
        self.in_time(tools::scopes(&*self.backend, self.options.naming)).await
    }
}

#[cfg(test)]
mod tests;
