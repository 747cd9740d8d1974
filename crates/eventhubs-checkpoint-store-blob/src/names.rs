//! The names of blobs, byte for byte as every official SDK that shares checkpoints writes them (contract
//! §9.2).

use eventhubs_checkpoint_store::{Error, ErrorKind, Result};
use eventhubs_types::{ConsumerScope, PartitionId};

/// The two kinds of record, one blob each per partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Who owns the partition.
    Ownership,
    /// How far the partition is processed.
    Checkpoint,
}

/// How namespace, event hub and consumer group are spelled in the names of blobs.
///
/// All instances of a consumer group must use the same, or each event is handled once by each half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Naming {
    /// In lower case, as the Python, JavaScript, .NET and Java SDKs do: a hub written `MyHub` in one program
    /// and `myhub` in the next is one hub to the service.
    #[default]
    LowerCase,
    /// As they were given, as the Go SDK and Microsoft's Rust SDK do.
    Verbatim,
}

impl Naming {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::LowerCase => Self::Verbatim,
            Self::Verbatim => Self::LowerCase,
        }
    }
}

/// What the names of all blobs of this kind start with, the last slash included.
pub(crate) fn prefix(scope: &ConsumerScope, kind: Kind, naming: Naming) -> String {
    let kind = match kind {
        Kind::Ownership => "ownership",
        Kind::Checkpoint => "checkpoint",
    };
    let ConsumerScope { namespace, event_hub, consumer_group, .. } = scope;
    let given = format!("{namespace}/{event_hub}/{consumer_group}/{kind}/");
    match naming {
        // By Unicode's rules, whatever the locale.
        Naming::LowerCase => given.to_lowercase(),
        Naming::Verbatim => given,
    }
}

/// The name of one blob; the partition id stays as it is.
pub(crate) fn blob(scope: &ConsumerScope, kind: Kind, naming: Naming, partition: &PartitionId) -> String {
    prefix(scope, kind, naming) + partition.as_str()
}

/// The partition that a listed blob belongs to, else why it belongs to none.
pub(crate) fn partition(prefix: &str, name: &str) -> std::result::Result<PartitionId, String> {
    let id = name.strip_prefix(prefix).ok_or("it is not below the prefix that was listed")?;
    PartitionId::new(id).map_err(|error| error.to_string())
}

/// Checks the name of a container by the rules of the service, which would answer with an obscure 400 or look
/// elsewhere.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`]; it does not repeat the name, for a mix-up of arguments puts a secret here.
pub(crate) fn check_container(name: &str) -> Result<()> {
    let reason = if !(3..=63).contains(&name.len()) {
        "container: a name has 3 to 63 characters"
    } else if !name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')) {
        "container: a name has lower-case letters, digits and hyphens only, and is no path"
    } else if name.starts_with('-') || name.ends_with('-') || name.contains("--") {
        "container: each hyphen in a name stands between letters or digits"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidArgument, reason))
}

#[cfg(test)]
mod tests {
    use eventhubs_types::{ConsumerGroup, EventHubName, Namespace};

    use super::*;

    fn scope() -> ConsumerScope {
        ConsumerScope::new(
            Namespace::new("MyNamespace.servicebus.windows.net").unwrap(),
            EventHubName::new("MyHub").unwrap(),
            ConsumerGroup::default(),
        )
    }

    #[test]
    fn names_are_those_of_contract_13_5() {
        let (zero, letters) = (PartitionId::new("0").unwrap(), PartitionId::new("A1").unwrap());
        let hub = "mynamespace.servicebus.windows.net/myhub/$default";
        assert_eq!(blob(&scope(), Kind::Ownership, Naming::LowerCase, &zero), format!("{hub}/ownership/0"));
        assert_eq!(blob(&scope(), Kind::Checkpoint, Naming::LowerCase, &zero), format!("{hub}/checkpoint/0"));
        assert_eq!(
            blob(&scope(), Kind::Checkpoint, Naming::LowerCase, &letters),
            format!("{hub}/checkpoint/A1")
        );
        assert_eq!(prefix(&scope(), Kind::Ownership, Naming::LowerCase), format!("{hub}/ownership/"));
        let ConsumerScope { namespace, event_hub, consumer_group, .. } = scope();
        let given = format!("{namespace}/{event_hub}/{consumer_group}/ownership/0");
        assert_eq!(blob(&scope(), Kind::Ownership, Naming::Verbatim, &zero), given);
        assert_ne!(given, given.to_lowercase());
    }

    #[test]
    fn a_blob_name_gives_back_its_partition() {
        let id = PartitionId::new("A 1%2F").unwrap();
        let name = blob(&scope(), Kind::Ownership, Naming::LowerCase, &id);
        assert_eq!(partition(&prefix(&scope(), Kind::Ownership, Naming::LowerCase), &name), Ok(id));
    }

    #[test]
    fn a_foreign_blob_has_no_partition_and_a_reason() {
        for foreign in ["x/ownership/", "x/ownership/0/1", "x/ownership/a\nb", "y/ownership/0", "x/ownership"]
        {
            assert!(!partition("x/ownership/", foreign).unwrap_err().is_empty(), "{foreign:?}");
        }
    }

    #[test]
    fn a_bad_container_name_is_refused_and_not_repeated() {
        let long = "x".repeat(64);
        for bad in ["", "ab", long.as_str(), "Upper", "a_b", "folder/sub", "-ab", "ab-", "a--b", "$root"] {
            let error = check_container(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.to_string().contains("container"), "{error}");
            assert!(bad.len() < 4 || !error.to_string().contains(bad), "{error}");
        }
        for good in ["abc", "checkpoints-1", &"x".repeat(63)] {
            check_container(good).unwrap();
        }
    }
}
