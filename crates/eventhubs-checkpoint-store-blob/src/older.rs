//! Checkpoints that older SDKs left: where they are, and what they say (docs/contract.md §9.5).

use std::collections::{BTreeMap, BTreeSet};

use eventhubs_checkpoint_store::{Checkpoint, Result};
use eventhubs_types::{ConsumerScope, Offset, PartitionId, SequenceNumber};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::backend::BlobBackend;
use crate::names::{self, Kind, Naming};
use crate::records;
use crate::retry::retry;

/// How many scopes are remembered; a store has one as a rule.
const MAX_SCOPES: usize = 64;

/// The longest content that is read as a checkpoint, in bytes; real ones have some hundred.
const MAX_CONTENT: usize = 64 * 1024;

type Position = (Option<Offset>, Option<SequenceNumber>);

/// The names of blobs in which other SDKs keep or kept the checkpoint of a partition, the surest first. The
/// first is of this very layout, the others are JSON.
fn candidates(scope: &ConsumerScope, naming: Naming, partition: &PartitionId) -> Vec<String> {
    let ConsumerScope { namespace, event_hub, consumer_group, .. } = scope;
    let mut names = vec![names::blob(scope, Kind::Checkpoint, naming.other(), partition)];
    let given = [
        format!("{namespace}/{event_hub}/{consumer_group}/{partition}"),
        format!("{consumer_group}/{partition}"),
        format!("dapr-{event_hub}-{consumer_group}-{partition}"),
        partition.to_string(),
    ];
    for name in given {
        // Older SDKs kept the case that the user gave, and the user may have given lower case.
        let lower = name.to_lowercase();
        names.extend((lower != name).then_some(lower));
        names.push(name);
    }
    names.retain(|name| *name != names::blob(scope, Kind::Checkpoint, naming, partition));
    names
}

/// Returns the position of an older checkpoint, as one that has not been written here yet.
///
/// # Errors
/// When a blob could not be read: then nobody knows where the partition would start.
pub(crate) async fn find(
    backend: &dyn BlobBackend,
    scope: &ConsumerScope,
    naming: Naming,
    partition: &PartitionId,
) -> Result<Option<Checkpoint>> {
    for name in candidates(scope, naming, partition) {
        let Some((offset, sequence_number)) = read(backend, scope, naming, partition, &name).await? else {
            continue;
        };
        tracing::info!(
            name,
            partition = partition.as_str(),
            "a partition starts from the checkpoint of an older SDK"
        );
        return Ok(Some(Checkpoint::new(partition.clone(), offset, sequence_number)));
    }
    Ok(None)
}

/// The position in a blob; `None` if there is no such blob, or nothing usable in it.
async fn read(
    backend: &dyn BlobBackend,
    scope: &ConsumerScope,
    naming: Naming,
    partition: &PartitionId,
    name: &str,
) -> Result<Option<Position>> {
    let position = if name == names::blob(scope, Kind::Checkpoint, naming.other(), partition) {
        let Some(blob) = retry(|| backend.read(name)).await? else { return Ok(None) };
        Some(records::position(&blob.metadata)).filter(|found| *found != (None, None))
    } else {
        let Some(content) = retry(|| backend.content(name)).await? else { return Ok(None) };
        position(&content)
    };
    if position.is_none() {
        tracing::warn!(name, "the checkpoint of an older SDK has no usable position");
    }
    Ok(position)
}

/// The position in a JSON checkpoint. Each SDK spells the fields in its own way, and Go puts them one level
/// deeper.
fn position(content: &[u8]) -> Option<Position> {
    let json: Value = serde_json::from_slice(content.get(..MAX_CONTENT).unwrap_or(content)).ok()?;
    let outer = fields(&json)?;
    let fields = outer.get("checkpoint").and_then(|inner| fields(inner)).unwrap_or(outer);
    // Without an offset nothing was processed yet, whatever the number says: it is 0 from the start.
    let offset = text(fields.get("offset")?)?;
    let number = fields.get("sequencenumber").and_then(|number| text(number)?.parse().ok());
    let is_start = matches!(offset.as_str(), "" | "-1" | "@latest" | "None" | "no offset");
    (!is_start).then(|| (Some(Offset::new(offset)), number.map(SequenceNumber::new)))
}

/// The fields by their names in lower case, without underscores.
fn fields(json: &Value) -> Option<BTreeMap<String, &Value>> {
    let plain = |name: &String| name.to_lowercase().replace('_', "");
    Some(json.as_object()?.iter().map(|(name, value)| (plain(name), value)).collect())
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Warns about older checkpoints that nobody asked for.
#[derive(Debug, Default)]
pub(crate) struct Older(Mutex<BTreeMap<ConsumerScope, Look>>);

/// What the container holds for a scope.
#[derive(Debug)]
struct Look {
    names: BTreeSet<String>,
    was_told: bool,
}

impl Older {
    /// Says once for each scope that a partition starts without its older checkpoint. Lists once for each
    /// scope; a look that fails is none.
    pub(crate) async fn look(
        &self,
        backend: &dyn BlobBackend,
        scope: &ConsumerScope,
        naming: Naming,
        partition: &PartitionId,
    ) {
        let mut looks = self.0.lock().await;
        if !looks.contains_key(scope) {
            if looks.len() >= MAX_SCOPES {
                return;
            }
            // There before the requests, so that a look that takes too long is not repeated.
            looks.insert(scope.clone(), Look { names: BTreeSet::new(), was_told: false });
            let names = names_of(backend, scope, naming, partition).await;
            looks.insert(scope.clone(), Look { names, was_told: false });
        }
        let Some(look) = looks.get_mut(scope).filter(|look| !look.was_told) else { return };
        let found = candidates(scope, naming, partition).into_iter().find(|name| look.names.contains(name));
        if let Some(name) = found {
            look.was_told = true;
            tracing::warn!(
                name,
                partition = partition.as_str(),
                "a partition starts without a checkpoint although an older SDK left one: ask the blob store to take \
                 older checkpoints, or delete them"
            );
        }
    }
}

/// The names of the blobs next to the candidates of one partition, of one page each.
async fn names_of(
    backend: &dyn BlobBackend,
    scope: &ConsumerScope,
    naming: Naming,
    partition: &PartitionId,
) -> BTreeSet<String> {
    let candidates = candidates(scope, naming, partition);
    let folders: BTreeSet<_> =
        candidates.iter().map(|name| name.trim_end_matches(partition.as_str())).collect();
    let mut names = BTreeSet::new();
    for folder in folders {
        if let Ok(page) = backend.list_folder(folder, None).await {
            names.extend(page.blobs.into_iter().map(|blob| blob.name));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use eventhubs_types::{ConsumerGroup, EventHubName, Namespace};

    use super::*;
    use crate::backend::fake::FakeBackend;
    use crate::records::Metadata;

    const DOTNET: &str =
        r#"{"PartitionId":"0","Owner":"h","Token":"t","Epoch":5,"Offset":"4711","SequenceNumber":77}"#;

    fn scope() -> ConsumerScope {
        let (namespace, hub) = (Namespace::new("Ns.example").unwrap(), EventHubName::new("Hub").unwrap());
        ConsumerScope::new(namespace, hub, ConsumerGroup::default())
    }

    fn zero() -> PartitionId {
        PartitionId::new("0").unwrap()
    }

    async fn found(fake: &FakeBackend) -> Option<Checkpoint> {
        find(fake, &scope(), Naming::LowerCase, &zero()).await.unwrap()
    }

    #[test]
    fn each_sdk_spells_the_position_in_its_own_way() {
        for json in [
            DOTNET,
            r#"{"offset":"4711","sequenceNumber":77,"partitionId":"0","epoch":1,"owner":"java"}"#,
            r#"{"partition_id":"0","offset":"4711","sequence_number":77,"epoch":0,"owner":"python","token":""}"#,
            r#"{"partitionID":"0","checkpoint":{"offset":"4711","sequenceNumber":77,"enqueueTime":"x"}}"#,
        ] {
            let expected = (Some("4711".into()), Some(77.into()));
            assert_eq!(position(json.as_bytes()), Some(expected), "{json}");
        }
    }

    #[test]
    fn what_was_never_processed_or_is_no_checkpoint_has_no_position() {
        for json in [
            r#"{"Offset":"","SequenceNumber":0}"#,
            r#"{"Offset":null,"SequenceNumber":0}"#,
            r#"{"SequenceNumber":7}"#,
            r#"{"checkpoint":{"offset":"-1","sequenceNumber":0}}"#,
            r#"{"checkpoint":{"offset":"@latest","sequenceNumber":0}}"#,
            "",
            "[]",
            "{",
        ] {
            assert_eq!(position(json.as_bytes()), None, "{json}");
        }
    }

    #[tokio::test]
    async fn each_place_is_found() {
        for name in [
            "Ns.example/Hub/$Default/0",
            "ns.example/hub/$default/0",
            "$Default/0",
            "$default/0",
            "dapr-Hub-$Default-0",
            "0",
        ] {
            let fake = FakeBackend::default();
            fake.fill(name, DOTNET);
            let found = found(&fake).await.unwrap_or_else(|| panic!("{name}"));
            assert_eq!((found.offset, found.version), (Some("4711".into()), None), "{name}");
        }
    }

    #[tokio::test]
    async fn the_surest_place_is_taken_that_has_a_position() {
        let fake = FakeBackend::default();
        fake.fill("$Default/0", DOTNET);
        fake.fill("Ns.example/Hub/$Default/0", "junk");
        assert_eq!(found(&fake).await.unwrap().sequence_number, Some(77.into()));
        let go = Metadata::from_iter([("offset", "1"), ("sequencenumber", "2")]);
        fake.put("Ns.example/Hub/$Default/checkpoint/0", go);
        assert_eq!(found(&fake).await.unwrap().sequence_number, Some(2.into()));
    }

    #[tokio::test]
    async fn nothing_is_found_where_nothing_is() {
        assert_eq!(found(&FakeBackend::default()).await, None);
    }
}
