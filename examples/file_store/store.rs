//! A whole store: one JSON file for each consumer group, which all processes of one host share.
//!
//! Every write is a compare-and-swap below a lock on the folder. The operating system frees the lock of a
//! process that dies, so none is ever left behind. A network file system may not have such locks: keep it off
//! those.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use eventhubs::store::{
    Checkpoint, CheckpointOutcome, CheckpointStore, Claim, ClaimOutcome, Error, ErrorKind, Expected, Mark,
    Ownership, OwnershipList, Result, Version, async_trait,
};
use eventhubs::{ConsumerScope, Offset, OwnerId, PartitionId, SequenceNumber};
use serde::{Deserialize, Serialize};

/// How long one call may take, the wait for the lock included.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// File systems take no longer names; a longer one becomes several folders.
const MAX_NAME: usize = 200;

/// The content of a file.
#[derive(Default, Serialize, Deserialize)]
struct Content {
    /// Counts over all records and restarts, so that no version ever comes back.
    last_version: u64,
    ownership: Records,
    checkpoints: Records,
}

type Records = BTreeMap<String, Record>;

/// An ownership record or a checkpoint, without what only the other one has.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Record {
    version: u64,
    modified: Option<SystemTime>,
    owner: Option<String>,
    mark: Option<String>,
    offset: Option<String>,
    sequence_number: Option<i64>,
}

/// A store in this folder, which is created when need be. Two stores in one folder share all records.
#[derive(Debug, Clone)]
pub(crate) struct FileStore(pub(crate) Arc<Path>);

impl FileStore {
    /// Runs `work` on the records of a scope while no other handle or process can, and keeps what it changed
    /// if it returns true. A thread of its own does it, so it is done whole even if the caller is dropped.
    async fn with_content<T: Send + 'static>(
        &self,
        scope: &ConsumerScope,
        work: impl FnOnce(&mut Content) -> (bool, T) + Send + 'static,
    ) -> Result<T> {
        let (folder, file) = (Arc::clone(&self.0), path(&self.0, scope));
        let work = tokio::task::spawn_blocking(move || {
            fs::create_dir_all(file.parent().unwrap_or(&folder))?;
            // A file of its own: the one of the records is replaced by each write.
            let lock = File::options().write(true).create(true).truncate(false).open(folder.join(".lock"))?;
            fs4::FileExt::lock(&lock)?;
            let mut content = read(&file)?;
            let (is_changed, answer) = work(&mut content);
            if is_changed {
                replace(&file, &content)?;
            }
            io::Result::Ok(answer)
        });
        let done = tokio::time::timeout(TIME_LIMIT, work).await;
        let done = done.map_err(|_| Error::new(ErrorKind::Timeout, "the folder of the store is locked"))?;
        done.unwrap_or_else(|panic| Err(panic.into())).map_err(failed)
    }
}

fn failed(error: io::Error) -> Error {
    let is_malformed = error.kind() == io::ErrorKind::InvalidData;
    let kind = if is_malformed { ErrorKind::Protocol } else { ErrorKind::Unavailable };
    Error::new(kind, "the folder of the store").with_source(error)
}

fn read(file: &Path) -> io::Result<Content> {
    match fs::read(file) {
        Ok(json) => serde_json::from_slice(&json).map_err(io::Error::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Content::default()),
        Err(error) => Err(error),
    }
}

/// Whoever crashes in here leaves the old file or the new one.
fn replace(file: &Path, content: &Content) -> io::Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, serde_json::to_vec(content)?)?;
    File::open(&new)?.sync_all()?;
    fs::rename(new, file)
}

/// The names in lower case, joined by what no name holds, with all but ASCII letters and digits encoded.
fn path(folder: &Path, scope: &ConsumerScope) -> PathBuf {
    let encode = |byte| match byte {
        b'a'..=b'z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02x}"),
    };
    let name: String = scope.to_lowercase().to_string().bytes().map(encode).collect();
    let (mut path, mut rest) = (folder.to_owned(), name.as_str());
    while rest.len() > MAX_NAME {
        path.push(format!("{}+", &rest[..MAX_NAME]));
        rest = &rest[MAX_NAME..];
    }
    path.join(format!("{rest}.json"))
}

impl Record {
    fn version(&self) -> Version {
        Version::new(self.version.to_string())
    }

    fn ownership(&self, id: &str) -> Option<Ownership> {
        let owner = self.owner.as_deref().and_then(|owner| OwnerId::new(owner).ok());
        let record = Ownership::new(PartitionId::new(id).ok()?, owner, self.version(), self.modified);
        Some(record.with_mark(self.mark.as_deref().map(Mark::new)))
    }

    fn checkpoint(&self, partition: PartitionId) -> Checkpoint {
        let (offset, number) = (self.offset.as_deref().map(Into::into), self.sequence_number.map(Into::into));
        Checkpoint::new(partition, offset, number).with_version(self.version())
    }
}

/// The one compare-and-swap, for both kinds of record. Returns what was written, if that is what was
/// expected.
fn swap(records: &mut Records, last: &mut u64, id: &str, expected: &Expected, new: Record) -> Option<Record> {
    let expected = if let Expected::Version(version) = expected { Some(version.clone()) } else { None };
    (records.get(id).map(Record::version) == expected).then(|| {
        *last += 1;
        let new = Record { version: *last, ..new };
        records.insert(id.to_owned(), new.clone());
        new
    })
}

impl Content {
    fn claim(&mut self, claim: &Claim) -> Option<Ownership> {
        let (id, owner) = (claim.partition.as_str(), claim.owner.as_ref().map(OwnerId::to_string));
        let mark = claim.mark.as_ref().map(|mark| mark.as_str().to_owned());
        let new = Record { modified: Some(now()), owner, mark, ..Record::default() };
        swap(&mut self.ownership, &mut self.last_version, id, &claim.expected, new)?.ownership(id)
    }

    fn write(&mut self, checkpoint: &Checkpoint, expected: &Expected) -> Option<Version> {
        let (id, offset) = (checkpoint.partition.as_str(), checkpoint.offset.as_ref().map(Offset::to_string));
        let sequence_number = checkpoint.sequence_number.map(SequenceNumber::value);
        let new = Record { offset, sequence_number, ..Record::default() };
        Some(swap(&mut self.checkpoints, &mut self.last_version, id, expected, new)?.version())
    }
}

fn now() -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "all processes of one host share its wall clock")]
    SystemTime::now()
}

#[async_trait]
impl CheckpointStore for FileStore {
    async fn list_ownership(&self, scope: &ConsumerScope) -> Result<OwnershipList> {
        let list = |content: &mut Content| {
            let listed = content.ownership.iter().filter_map(|(id, record)| record.ownership(id)).collect();
            (false, OwnershipList::new(listed, Some(now()), Vec::new()))
        };
        self.with_content(scope, list).await
    }

    async fn claim_ownership(&self, scope: &ConsumerScope, claim: &Claim) -> ClaimOutcome {
        let mut outcomes = self.claim_all(scope, std::slice::from_ref(claim)).await;
        outcomes.pop().unwrap_or(ClaimOutcome::Lost)
    }

    /// The largest event hub: the file is written once, whatever the number of claims.
    fn max_claims(&self) -> usize {
        2_000
    }

    async fn claim_all(&self, scope: &ConsumerScope, claims: &[Claim]) -> Vec<ClaimOutcome> {
        let wanted = claims.to_vec();
        let failed = |error: &Error| ClaimOutcome::Failed(Error::new(error.kind(), error.to_string()));
        let claim = move |content: &mut Content| {
            let won: Vec<_> = wanted.iter().map(|claim| content.claim(claim)).collect();
            (won.iter().any(Option::is_some), won)
        };
        match self.with_content(scope, claim).await {
            Ok(won) => won.into_iter().map(|won| won.map_or(ClaimOutcome::Lost, ClaimOutcome::Won)).collect(),
            Err(error) => claims.iter().map(|_| failed(&error)).collect(),
        }
    }

    async fn checkpoint(&self, scope: &ConsumerScope, partition: &PartitionId) -> Result<Option<Checkpoint>> {
        let id = partition.clone();
        let read = move |content: &mut Content| {
            (false, content.checkpoints.get(id.as_str()).map(|record| record.checkpoint(id.clone())))
        };
        self.with_content(scope, read).await
    }

    async fn update_checkpoint(
        &self,
        scope: &ConsumerScope,
        checkpoint: &Checkpoint,
        expected: &Expected,
    ) -> Result<CheckpointOutcome> {
        let (new, old) = (checkpoint.clone(), expected.clone());
        let write = move |content: &mut Content| {
            let written = content.write(&new, &old);
            (written.is_some(), written)
        };
        let written = self.with_content(scope, write).await?;
        Ok(written.map_or(CheckpointOutcome::Conflict, CheckpointOutcome::Written))
    }
}
