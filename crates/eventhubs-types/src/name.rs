//! Names that are checked once: event hubs, consumer groups, partitions, owners, namespaces.

use std::fmt;
use std::str::FromStr;

use smol_str::SmolStr;

/// A name that cannot be used where it was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {reason}")]
pub struct InvalidName {
    field: &'static str,
    reason: &'static str,
}

impl InvalidName {
    /// The field that is wrong, for example `partition id`.
    pub fn field(&self) -> &'static str {
        self.field
    }
}

/// The rules all names share: they end up in link addresses, blob names and log lines.
fn check(field: &'static str, name: &str, max: usize) -> Result<(), InvalidName> {
    let reason = if name.is_empty() {
        "is empty"
    } else if name.len() > max {
        "is too long"
    } else if name.trim() != name {
        "starts or ends with white space"
    } else if name.chars().any(char::is_control) {
        "contains a control character"
    } else if name.contains(['/', '\\']) {
        "contains a slash"
    } else if name == "." || name == ".." {
        "is a relative path"
    } else {
        return Ok(());
    };
    Err(InvalidName { field, reason })
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $field:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(SmolStr);

        impl $type {
            #[doc = concat!("Checks and takes a ", $field, " of at most ", stringify!($max), " bytes.")]
            ///
            /// # Errors
            /// When the name is empty or too long, starts or ends with white space, or holds a slash or a
            /// control character. The error names the field, never the value.
            pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidName> {
                let name = name.as_ref();
                check($field, name, $max)?;
                Ok(Self(name.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;

            fn from_str(name: &str) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl TryFrom<&str> for $type {
            type Error = InvalidName;

            fn try_from(name: &str) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;

            fn try_from(name: String) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name! {
    /// The host name of an Event Hubs namespace, without a port: `contoso.servicebus.windows.net`.
    Namespace, "namespace", 253
}
name! {
    /// The name of an event hub.
    EventHubName, "event hub", 256
}
name! {
    /// The name of a consumer group.
    ConsumerGroup, "consumer group", 256
}
name! {
    /// The id of a partition: a decimal number today, opaque text to us.
    PartitionId, "partition id", 128
}
name! {
    /// The id under which one instance owns partitions.
    OwnerId, "owner id", 256
}

/// A name may get longer by it than it may be (`İ` has one byte more in lower case); stores refuse what they cannot keep.
macro_rules! lowercase {
    ($($type:ident),*) => {
        $(impl $type {
            pub(crate) fn to_lowercase(&self) -> Self {
                Self(self.0.to_lowercase().into())
            }
        })*
    };
}

lowercase!(Namespace, EventHubName, ConsumerGroup);

impl ConsumerGroup {
    /// The group that every event hub has.
    pub const DEFAULT: &'static str = "$Default";
}

impl Default for ConsumerGroup {
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_as_given() {
        let group = ConsumerGroup::new("My Group-1.$x").unwrap();
        assert_eq!(group.as_str(), "My Group-1.$x");
        assert_eq!(format!("{group:>15}|{group:?}"), "  My Group-1.$x|\"My Group-1.$x\"");
    }

    #[test]
    fn a_bad_name_is_refused_with_its_field() {
        let long = "x".repeat(129);
        for bad in ["", " a", "a\n", "a/b", "a\\b", "..", long.as_str()] {
            let error = PartitionId::new(bad).unwrap_err();
            assert_eq!(error.field(), "partition id", "{bad:?}");
            assert!(bad.is_empty() || !error.to_string().contains(bad), "{error}");
        }
    }
}
