//! Keys and channels: all of a scope are in one slot of a cluster, and no two scopes share one.

use eventhubs_checkpoint_store::{Error, ErrorKind, Result};
use eventhubs_types::ConsumerScope;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// What a name may not have in a key: braces mark what a cluster takes the slot from, and slashes part names.
const RESERVED: &AsciiSet = &CONTROLS.add(b'{').add(b'}').add(b'%').add(b'/');

/// What all keys begin with, unless [`key_prefix`](crate::RedisCheckpointStoreBuilder::key_prefix) says otherwise.
pub const DEFAULT_KEY_PREFIX: &str = "eventhubs";

/// The longest prefix, in bytes.
const MAX_PREFIX: usize = 64;

const OWNERSHIP: &str = "}:ownership";
const CHECKPOINT: &str = "}:checkpoint";
const HINTS: &str = "}:hints";

/// The two hashes of a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ownership,
    Checkpoint,
}

/// The names of what begins with one prefix.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    prefix: String,
}

impl Names {
    pub(crate) fn new(prefix: String) -> Result<Self> {
        // No brace, which would move the slot, and nothing that a pattern takes for more than itself.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        if !prefix.is_empty() && prefix.len() <= MAX_PREFIX && prefix.bytes().all(is_plain) {
            return Ok(Self { prefix });
        }
        let text =
            format!("key_prefix: {prefix:?} is not 1 to {MAX_PREFIX} letters, digits, '-', '_', '.' and ':'");
        Err(Error::new(ErrorKind::InvalidArgument, text))
    }

    /// The key of a hash.
    pub(crate) fn key(&self, scope: &ConsumerScope, kind: Kind) -> String {
        let suffix = match kind {
            Kind::Ownership => OWNERSHIP,
            Kind::Checkpoint => CHECKPOINT,
        };
        format!("{}:{{{}{suffix}", self.prefix, encoded(scope))
    }

    /// The channel that hints of a scope are published in.
    pub(crate) fn channel(&self, scope: &ConsumerScope) -> String {
        format!("{}:{{{}{HINTS}", self.prefix, encoded(scope))
    }

    /// A pattern of `SCAN` that all keys match.
    pub(crate) fn pattern(&self) -> String {
        format!("{}:{{*}}:*", self.prefix)
    }

    /// The scope whose hash has this key; `None` for a key of another program.
    pub(crate) fn scope(&self, key: &str) -> Option<ConsumerScope> {
        let rest = key.strip_prefix(&self.prefix)?.strip_prefix(":{")?;
        let rest = rest.strip_suffix(OWNERSHIP).or_else(|| rest.strip_suffix(CHECKPOINT))?;
        let mut names = rest.split('/').map(|name| percent_decode_str(name).decode_utf8());
        let mut next = || names.next()?.ok().map(String::from);
        let (namespace, hub, group) = (next()?, next()?, next()?);
        let scope = ConsumerScope::new(namespace.parse().ok()?, hub.parse().ok()?, group.parse().ok()?);
        names.next().is_none().then_some(scope)
    }
}

fn encoded(scope: &ConsumerScope) -> String {
    let scope = scope.to_lowercase();
    let names = [scope.namespace.as_str(), scope.event_hub.as_str(), scope.consumer_group.as_str()];
    names.map(|name| utf8_percent_encode(name, RESERVED).to_string()).join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::new(DEFAULT_KEY_PREFIX.to_owned()).unwrap()
    }

    fn scope_of(hub: &str) -> ConsumerScope {
        ConsumerScope::new(
            "NS.example.net".parse().unwrap(),
            hub.parse().unwrap(),
            "$Default".parse().unwrap(),
        )
    }

    #[test]
    fn a_key_is_in_lower_case_with_its_slot_in_braces() {
        let scope = scope_of("Orders");
        assert_eq!(
            names().key(&scope, Kind::Ownership),
            "eventhubs:{ns.example.net/orders/$default}:ownership"
        );
        assert_eq!(
            names().key(&scope, Kind::Checkpoint),
            "eventhubs:{ns.example.net/orders/$default}:checkpoint"
        );
        assert_eq!(names().channel(&scope), "eventhubs:{ns.example.net/orders/$default}:hints");
    }

    #[test]
    fn braces_and_percents_in_names_are_encoded_and_come_back() {
        let scope = scope_of("a}:{b%7d");
        let key = names().key(&scope, Kind::Ownership);
        assert_eq!(key, "eventhubs:{ns.example.net/a%7D:%7Bb%257d/$default}:ownership");
        assert_eq!(names().scope(&key), Some(scope.to_lowercase()));
    }

    #[test]
    fn keys_of_other_programs_are_no_scopes() {
        for key in ["eventhubs:{a/b/c}:hints", "eventhubs:{a/b}:ownership", "other:{a/b/c}:ownership"] {
            assert_eq!(names().scope(key), None, "{key}");
        }
        assert_eq!(names().scope("eventhubs:{a/b/c/d}:ownership"), None);
    }

    #[test]
    fn a_prefix_with_braces_or_wildcards_is_refused() {
        for prefix in ["", "a{b}", "a*", "a b", &"x".repeat(65)] {
            assert_eq!(
                Names::new(prefix.to_owned()).unwrap_err().kind(),
                ErrorKind::InvalidArgument,
                "{prefix}"
            );
        }
        Names::new("staging:eventhubs-2".to_owned()).unwrap();
    }
}
