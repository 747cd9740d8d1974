//! The `Config.json` of Microsoft's emulator, without its limits: several namespaces, any number of hubs and groups.

use std::fs;
use std::path::Path;

use eventhubs_types::{ConsumerGroup, EventHubName, InvalidName};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::Result;

/// An event hub to serve.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct EventHub {
    #[serde(deserialize_with = "event_hub_name")]
    pub(super) name: String,
    #[serde(rename = "PartitionCount", deserialize_with = "any_count")]
    pub(super) partitions: usize,
    /// Beside `$Default`, which is always there.
    #[serde(default, deserialize_with = "group_names")]
    pub(super) consumer_groups: Vec<String>,
}

/// A namespace to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Namespace {
    pub(super) name: String,
    pub(super) event_hubs: Vec<EventHub>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct File {
    user_config: UserConfig,
}

/// Logging is configured by `RUST_LOG`, so `LoggingConfig` is not looked at.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UserConfig {
    namespace_config: Vec<NamespaceConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct NamespaceConfig {
    #[serde(rename = "Type", default)]
    _kind: Kind,
    #[serde(default, deserialize_with = "namespace_name")]
    name: Option<String>,
    entities: Vec<EventHub>,
}

#[derive(Deserialize, Default)]
enum Kind {
    #[default]
    EventHub,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Group {
    #[serde(deserialize_with = "group_name")]
    name: String,
}

/// Reads the file.
///
/// # Errors
/// Names the file, and the field with its way through the file.
pub(super) fn read(file: &Path) -> Result<Vec<Namespace>> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    parse(&text).map_err(|error| format!("{}: {error}", file.display()).into())
}

fn parse(text: &str) -> std::result::Result<Vec<Namespace>, String> {
    // editors on Windows put a byte order mark in front
    let text = text.trim_start_matches('\u{feff}');
    let mut json = serde_json::Deserializer::from_str(text);
    let file: File = serde_path_to_error::deserialize(&mut json).map_err(|error| error.to_string())?;
    // The deserializer stops after the first value, so what follows it would go unnoticed.
    json.end().map_err(|error| error.to_string())?;
    let namespaces = file.user_config.namespace_config;
    if namespaces.is_empty() {
        return Err("UserConfig.NamespaceConfig: holds no namespace".into());
    }
    named(namespaces)
}

/// Gives those without a name the one that Microsoft's emulator would have, by their place.
///
/// # Errors
/// When two have one name, in any case: they would share a folder and an address over HTTP.
fn named(configs: Vec<NamespaceConfig>) -> std::result::Result<Vec<Namespace>, String> {
    let mut namespaces: Vec<Namespace> = Vec::new();
    for (index, NamespaceConfig { name, entities, .. }) in configs.into_iter().enumerate() {
        let name = name.unwrap_or_else(|| format!("emulatorNs{}", index + 1));
        if namespaces.iter().any(|other| other.name.eq_ignore_ascii_case(&name)) {
            return Err(format!(
                "UserConfig.NamespaceConfig[{index}].Name: another namespace is called {name:?} too"
            ));
        }
        namespaces.push(Namespace { name, event_hubs: entities });
    }
    Ok(namespaces)
}

/// Checks the name of a namespace, which is also the name of a folder.
///
/// # Errors
/// When it cannot be one.
pub(super) fn check_namespace(name: &str) -> std::result::Result<String, String> {
    let checked = eventhubs_types::Namespace::new(name).map_err(|error| format!("the {error}"))?;
    // `C:` leaves the folder on Windows.
    if name.contains(':') {
        return Err("the namespace contains a colon".to_owned());
    }
    Ok(checked.as_str().to_owned())
}

fn namespace_name<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<String>, D::Error> {
    let name = Option::<String>::deserialize(deserializer)?;
    name.map(|name| check_namespace(&name).map_err(D::Error::custom)).transpose()
}

/// Reads the number of partitions of a hub.
///
/// # Errors
/// When it is none.
pub(super) fn partition_count(text: &str) -> std::result::Result<usize, String> {
    let count = text.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| "the partition count is not a number above 0".to_owned())
}

/// A number or, as in Microsoft's examples, a number in quotes.
fn any_count<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<usize, D::Error> {
    let count = match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(text) => text,
        // Whatever else it is, so that one check and one message do for numbers, negative ones and fractions.
        other => other.to_string(),
    };
    partition_count(&count).map_err(D::Error::custom)
}

fn event_hub_name<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<String, D::Error> {
    checked(deserializer, |name| EventHubName::new(name).map(drop))
}

fn group_name<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<String, D::Error> {
    checked(deserializer, |name| ConsumerGroup::new(name).map(drop))
}

fn checked<'de, D: Deserializer<'de>>(
    deserializer: D,
    check: impl Fn(&str) -> std::result::Result<(), InvalidName>,
) -> std::result::Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    check(&name).map_err(|error| D::Error::custom(format_args!("the {error}")))?;
    Ok(name)
}

fn group_names<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<String>, D::Error> {
    let groups = Option::<Vec<Group>>::deserialize(deserializer)?;
    Ok(groups.unwrap_or_default().into_iter().map(|group| group.name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(entities: &str) -> String {
        format!(
            r#"{{"UserConfig": {{"NamespaceConfig": [{{"Type": "EventHub", "Name": "emulatorNs1", "Entities": [{entities}]}}],
            "LoggingConfig": {{"Type": "File"}}}}}}"#
        )
    }

    fn hub(name: &str, partitions: usize, groups: &[&str]) -> EventHub {
        EventHub {
            name: name.into(),
            partitions,
            consumer_groups: groups.iter().map(|&group| group.into()).collect(),
        }
    }

    #[test]
    fn the_example_of_microsoft_is_read() {
        let text = config(r#"{"Name": "eh1", "PartitionCount": "2", "ConsumerGroups": [{"Name": "cg1"}]}"#);
        let expected = Namespace { name: "emulatorNs1".into(), event_hubs: vec![hub("eh1", 2, &["cg1"])] };
        assert_eq!(parse(&text), Ok(vec![expected.clone()]));
        assert_eq!(parse(&format!("\u{feff}{text}")), Ok(vec![expected]));
    }

    #[test]
    fn there_is_no_limit_on_hubs_partitions_and_groups() {
        let groups: Vec<_> = (0..50).map(|n| format!(r#"{{"Name": "cg{n}"}}"#)).collect();
        let hub = |n: usize| {
            format!(r#"{{"Name": "eh{n}", "PartitionCount": 100, "ConsumerGroups": [{}]}}"#, groups.join(","))
        };
        let namespaces = parse(&config(&(0..20).map(hub).collect::<Vec<_>>().join(","))).unwrap();
        assert_eq!(namespaces[0].event_hubs.len(), 20);
        assert_eq!(namespaces[0].event_hubs[19].partitions, 100);
        assert_eq!(namespaces[0].event_hubs[19].consumer_groups.len(), 50);
    }

    #[test]
    fn groups_may_be_left_out() {
        for entity in [
            r#"{"Name": "eh1", "PartitionCount": 2}"#,
            r#"{"Name": "eh1", "PartitionCount": 2, "ConsumerGroups": null}"#,
        ] {
            assert_eq!(parse(&config(entity)).unwrap()[0].event_hubs, [hub("eh1", 2, &[])]);
        }
    }

    #[test]
    fn a_mistake_is_reported_with_its_field() {
        let entity = "UserConfig.NamespaceConfig[0].Entities[0]";
        for (entity_text, field, why) in [
            (r#"{"PartitionCount": 2}"#, entity.to_owned(), "missing field `Name`"),
            (r#"{"Name": "eh1"}"#, entity.to_owned(), "missing field `PartitionCount`"),
            (
                r#"{"Name": "eh1", "PartitionCount": 0}"#,
                format!("{entity}.PartitionCount"),
                "the partition count is not a number above 0",
            ),
            (
                r#"{"Name": "eh1", "PartitionCount": "two"}"#,
                format!("{entity}.PartitionCount"),
                "the partition count is not a number above 0",
            ),
            (
                r#"{"Name": "e/h", "PartitionCount": 2}"#,
                format!("{entity}.Name"),
                "the event hub contains a slash",
            ),
            (
                r#"{"Name": "eh1", "PartitionCount": 2, "ConsumerGroups": [{"Name": ""}]}"#,
                format!("{entity}.ConsumerGroups[0].Name"),
                "the consumer group is empty",
            ),
            (
                r#"{"Name": "eh1", "PartitionCount": 2, "Consumergroups": []}"#,
                format!("{entity}.Consumergroups"),
                "unknown field `Consumergroups`",
            ),
        ] {
            let error = parse(&config(entity_text)).unwrap_err();
            assert!(error.starts_with(&format!("{field}: {why}")), "{error}");
        }
    }

    #[test]
    fn a_namespace_needs_neither_name_nor_type() {
        let text =
            r#"{"UserConfig": {"NamespaceConfig": [{"Entities": []}, {"Name": null, "Entities": []}]}}"#;
        let names: Vec<_> = parse(text).unwrap().into_iter().map(|namespace| namespace.name).collect();
        assert_eq!(names, ["emulatorNs1", "emulatorNs2"]);
    }

    #[test]
    fn a_namespace_that_is_no_folder_of_its_own_is_refused() {
        for (name, why) in [
            ("../../x", "contains a slash"),
            ("/abs", "contains a slash"),
            ("a\\b", "contains a slash"),
            ("..", "is a relative path"),
            ("", "is empty"),
            ("c:x", "contains a colon"),
            ("a\u{0007}", "contains a control character"),
        ] {
            let name = serde_json::to_string(name).unwrap();
            let text =
                format!(r#"{{"UserConfig": {{"NamespaceConfig": [{{"Name": {name}, "Entities": []}}]}}}}"#);
            let error = parse(&text).unwrap_err();
            assert!(error.starts_with("UserConfig.NamespaceConfig[0].Name: the namespace"), "{error}");
            assert!(error.contains(why), "{error}");
        }
        let text = r#"{"UserConfig": {"NamespaceConfig": [{"Name": "a", "Entities": []}, {"Name": "A", "Entities": []}]}}"#;
        let expected = "UserConfig.NamespaceConfig[1].Name: another namespace is called \"A\" too";
        assert_eq!(parse(text), Err(expected.to_owned()));
    }

    #[test]
    fn what_is_no_config_is_refused() {
        for (text, why) in [
            ("", "EOF"),
            ("{}", "missing field `UserConfig`"),
            (r#"{"UserConfig": {}}"#, "UserConfig: missing field `NamespaceConfig`"),
            (r#"{"UserConfig": {"NamespaceConfig": []}}"#, "holds no namespace"),
            (
                r#"{"UserConfig": {"NamespaceConfig": [{"Type": "ServiceBus", "Name": "a", "Entities": []}]}}"#,
                "UserConfig.NamespaceConfig[0].Type: unknown variant `ServiceBus`, expected `EventHub`",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
