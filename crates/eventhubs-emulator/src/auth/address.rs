//! Addresses of links and audiences of tokens (docs/contract.md §3.4, §5.1). Pure.

/// What a link address means (docs/contract.md §3.1, §4.1, §5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Cbs,
    Management,
    /// Where a producer sends to a partition that the broker chooses.
    Hub {
        hub: String,
    },
    /// Where a producer sends to one partition.
    Partition {
        hub: String,
        partition: String,
    },
    /// Where a consumer reads.
    ConsumerGroup {
        hub: String,
        group: String,
        partition: String,
    },
    Unknown,
}

impl Address {
    /// Takes the full URL, the absolute path and the relative path alike (docs/contract.md §5.1).
    pub(crate) fn parse(address: &str) -> Self {
        let path = path(address);
        let segments: Vec<&str> = path.split('/').collect();
        match segments.as_slice() {
            ["$cbs"] => Self::Cbs,
            ["$management"] | [_, "$management"] => Self::Management,
            [hub] if !hub.is_empty() => Self::Hub { hub: (*hub).into() },
            [hub, partitions, id] if is(partitions, "Partitions") => {
                Self::Partition { hub: (*hub).into(), partition: (*id).into() }
            }
            [hub, groups, group, partitions, id]
                if is(groups, "ConsumerGroups") && is(partitions, "Partitions") =>
            {
                Self::ConsumerGroup { hub: (*hub).into(), group: (*group).into(), partition: (*id).into() }
            }
            _ => Self::Unknown,
        }
    }
}

fn is(segment: &str, word: &str) -> bool {
    segment.eq_ignore_ascii_case(word)
}

/// The path of an address or audience without scheme, host and outer slashes; the service checks neither scheme nor
/// host (docs/contract.md §3.4).
pub(crate) fn path(address: &str) -> &str {
    let path = match address.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => address,
    };
    path.trim_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_address_has_three_forms_and_words_in_any_case() {
        let expected =
            Address::ConsumerGroup { hub: "Hub1".into(), group: "$Default".into(), partition: "0".into() };
        for form in [
            "amqps://localhost:5672/Hub1/ConsumerGroups/$Default/Partitions/0",
            "sb://ns.servicebus.windows.net/Hub1/consumergroups/$Default/partitions/0/",
            "/Hub1/ConsumerGroups/$Default/Partitions/0",
            "Hub1/ConsumerGroups/$Default/Partitions/0",
        ] {
            assert_eq!(Address::parse(form), expected, "{form}");
        }
    }

    #[test]
    fn a_producer_sends_to_a_hub_or_to_a_partition() {
        assert_eq!(Address::parse("amqps://ns:1/hub1"), Address::Hub { hub: "hub1".into() });
        let partition = Address::Partition { hub: "hub1".into(), partition: "7".into() };
        assert_eq!(Address::parse("hub1/Partitions/7"), partition);
    }

    #[test]
    fn cbs_and_management_are_nodes_of_the_connection() {
        assert_eq!(Address::parse("$cbs"), Address::Cbs);
        assert_eq!(Address::parse("$management"), Address::Management);
        assert_eq!(Address::parse("hub1/$management"), Address::Management);
    }

    #[test]
    fn anything_else_is_unknown() {
        for address in ["", "/", "sb://host", "a/b", "a/b/c", "a/ConsumerGroups/b", "a/x/b/Partitions/0"] {
            assert_eq!(Address::parse(address), Address::Unknown, "{address}");
        }
    }
}
