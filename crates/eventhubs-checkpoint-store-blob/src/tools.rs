//! What only tools ask for: which scopes there are, and deletion.

use eventhubs_checkpoint_store::{DeleteOutcome, Error, ErrorKind, Result, Version};
use eventhubs_types::{ConsumerGroup, ConsumerScope, EventHubName, Namespace};

use crate::backend::{BlobBackend, MAX_PAGES};
use crate::names::{self, Kind, Naming};
use crate::retry::{Attempts, retry};

/// The most folders that a search for scopes looks into.
const MAX_FOLDERS: usize = 1_000;

/// Deletes a blob that has this version. To send it again is safe: it can be deleted once only.
pub(crate) async fn delete(
    backend: &dyn BlobBackend,
    name: &str,
    version: &Version,
) -> Result<DeleteOutcome> {
    let mut attempts = Attempts::default();
    loop {
        match backend.delete(name, version).await {
            Ok(true) => return Ok(DeleteOutcome::Deleted),
            Ok(false) => {
                // An attempt whose answer was lost leaves no blob; one that was overtaken leaves another.
                let is_ours = attempts.has_failed() && retry(|| backend.read(name)).await?.is_none();
                return Ok(if is_ours { DeleteOutcome::Deleted } else { DeleteOutcome::Conflict });
            }
            Err(error) => attempts.after(error).await?,
        }
    }
}

/// Lists the scopes that have a record, as this naming spells them. Folder by folder, so that the number of
/// requests depends on the scopes and not on their partitions.
pub(crate) async fn scopes(backend: &dyn BlobBackend, naming: Naming) -> Result<Vec<ConsumerScope>> {
    let mut folders = vec![String::new()];
    for _ in ["namespace", "event hub", "consumer group"] {
        let mut below = Vec::new();
        for folder in &folders {
            below.extend(folders_in(backend, folder).await?);
            if below.len() > MAX_FOLDERS {
                let text = format!("list the scopes: the container has more than {MAX_FOLDERS} folders");
                return Err(Error::new(ErrorKind::Unsupported, text));
            }
        }
        folders = below;
    }
    let mut scopes = Vec::new();
    for scope in folders.iter().filter_map(|folder| scope_of(folder, naming)) {
        if has_records(backend, &scope, naming).await? {
            scopes.push(scope);
        }
    }
    Ok(scopes)
}

async fn folders_in(backend: &dyn BlobBackend, folder: &str) -> Result<Vec<String>> {
    let (mut folders, mut marker) = (Vec::new(), None);
    for _ in 0..MAX_PAGES {
        let page = retry(|| backend.list_folder(folder, marker.as_deref())).await?;
        folders.extend(page.folders);
        marker = page.next;
        if marker.is_none() || folders.len() > MAX_FOLDERS {
            break;
        }
    }
    Ok(folders)
}

/// The scope of a folder with three parts; `None` if it is no scope, or one in another spelling.
fn scope_of(folder: &str, naming: Naming) -> Option<ConsumerScope> {
    let mut parts = folder.trim_end_matches('/').split('/');
    let scope = ConsumerScope::new(
        Namespace::new(parts.next()?).ok()?,
        EventHubName::new(parts.next()?).ok()?,
        ConsumerGroup::new(parts.next()?).ok()?,
    );
    names::prefix(&scope, Kind::Ownership, naming).starts_with(folder).then_some(scope)
}

/// Whether there is a blob of the scope. Its folders are no proof: with a hierarchical namespace they stay.
async fn has_records(backend: &dyn BlobBackend, scope: &ConsumerScope, naming: Naming) -> Result<bool> {
    for kind in [Kind::Checkpoint, Kind::Ownership] {
        let (prefix, mut marker) = (names::prefix(scope, kind, naming), None);
        for _ in 0..MAX_PAGES {
            let page = retry(|| backend.list(&prefix, marker.as_deref())).await?;
            if !page.blobs.is_empty() || !page.rejected.is_empty() {
                return Ok(true);
            }
            marker = page.next;
            if marker.is_none() {
                break;
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::fake::{FakeBackend, Fault};
    use crate::records::Metadata;

    #[tokio::test]
    async fn scopes_are_found_whatever_else_is_there() {
        let fake = FakeBackend::default();
        for name in [
            "ns/hub/$default/ownership/0",
            "ns/hub/$default/checkpoint/0",
            "ns/hub/ownership/ownership/0",
            "ns/hub2/g/checkpoint/0",
            "NS/Hub/$Default/ownership/0",
            "ns/hub/old/0",
            "$Default/0",
            "0",
            "a/b/c/d/e/f",
        ] {
            fake.put(name, Metadata::default());
        }
        let scopes = async |naming| {
            let scopes = scopes(&fake, naming).await.unwrap();
            scopes.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(scopes(Naming::LowerCase).await, ["ns/hub/$default", "ns/hub/ownership", "ns/hub2/g"]);
        assert!(scopes(Naming::Verbatim).await.contains(&"NS/Hub/$Default".to_owned()));
    }

    #[tokio::test]
    async fn too_many_folders_are_an_error_and_no_half_list() {
        let fake = FakeBackend::default();
        for folder in 0..=MAX_FOLDERS {
            fake.put(&format!("{folder}/hub/group/ownership/0"), Metadata::default());
        }
        assert_eq!(scopes(&fake, Naming::LowerCase).await.unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deletion_whose_answer_was_lost_is_one() {
        let lost = || Error::new(ErrorKind::Unavailable, "the answer was lost");
        for (fault, outcome) in [
            (Fault::After(lost()), DeleteOutcome::Deleted),
            (Fault::Before(lost()), DeleteOutcome::Deleted),
            (Fault::Overtaken(lost(), Metadata::default()), DeleteOutcome::Conflict),
        ] {
            let fake = FakeBackend::with_faults([fault]);
            let version = fake.put("x", Metadata::default()).version;
            assert_eq!(delete(&fake, "x", &version).await.unwrap(), outcome);
        }
    }
}
