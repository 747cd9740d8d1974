//! What the emulator prints when it is ready, as text or JSON.

use std::fmt;
use std::net::SocketAddr;

use serde::Serialize;

use super::config::Namespace;
use super::running::Running;
use eventhubs_emulator::Emulator;

/// What a user needs to connect; as JSON for scripts, as text for people.
#[derive(Debug, Serialize)]
pub(super) struct Announcement {
    namespaces: Vec<AnnouncedNamespace>,
    health: String,
    page: String,
}

#[derive(Debug, Serialize)]
struct AnnouncedNamespace {
    name: String,
    address: String,
    connection_string: String,
    event_hubs: Vec<AnnouncedHub>,
}

#[derive(Debug, Serialize)]
struct AnnouncedHub {
    name: String,
    partitions: usize,
    consumer_groups: Vec<String>,
    connection_string: String,
}

impl Announcement {
    pub(super) fn new(running: &Running, health: SocketAddr) -> Self {
        let namespaces = running.namespaces().iter();
        Self {
            namespaces: namespaces.map(|(namespace, emulator)| announce(namespace, emulator)).collect(),
            health: format!("http://{health}/health"),
            page: format!("http://{health}/"),
        }
    }
}

fn announce(namespace: &Namespace, emulator: &Emulator) -> AnnouncedNamespace {
    let hubs = emulator.event_hubs().into_iter().map(|hub| AnnouncedHub {
        connection_string: emulator.connection_string(&hub.name),
        name: hub.name,
        partitions: hub.partitions.len(),
        consumer_groups: hub.consumer_groups,
    });
    AnnouncedNamespace {
        name: namespace.name.clone(),
        address: emulator.address().to_string(),
        connection_string: emulator.namespace_connection_string(),
        event_hubs: hubs.collect(),
    }
}

impl fmt::Display for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for namespace in &self.namespaces {
            writeln!(f, "namespace {} on {}", namespace.name, namespace.address)?;
            writeln!(f, "  {}\n", namespace.connection_string)?;
            for hub in &namespace.event_hubs {
                let groups = hub.consumer_groups.join(", ");
                write!(f, "event hub {}, {} partitions, {groups}", hub.name, hub.partitions)?;
                writeln!(f, "\n  {}\n", hub.connection_string)?;
            }
        }
        writeln!(f, "{} shows what happens\n{}\nCtrl-C stops it.", self.page, self.health)
    }
}
