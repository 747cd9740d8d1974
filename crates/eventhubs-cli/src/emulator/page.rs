//! The page for people. Everything that clients and users named is escaped by `maud`.

use std::collections::BTreeMap;
use std::sync::Weak;
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse};
use eventhubs_emulator::{
    AttachedReceiver, ConnectedClient, Emulator, EventHubProperties, PartitionProperties,
};
use maud::{DOCTYPE, Markup, html};

use super::config::Namespace;
use super::running::Running;

/// How many partitions of one hub are shown.
const MAX_ROWS: usize = 256;

pub(super) async fn page(State(running): State<Weak<Running>>) -> Html<String> {
    let running = running.upgrade();
    let namespaces = running.as_ref().map_or(&[][..], |running| running.namespaces());
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Event Hubs emulator" }
                link rel="icon" href="/icon.svg";
                link rel="stylesheet" href="/page.css";
                script src="/page.js" defer {}
            }
            body {
                header {
                    h1 { "Event Hubs emulator" }
                    p #state role="status" { "The page is as of its loading." }
                }
                main {
                    div #live { (live_part(namespaces)) }
                    div.tools { (publish_form(namespaces)) (live_tail(namespaces)) }
                }
            }
        }
    };
    Html(markup.into_string())
}

/// What the script replaces again and again.
pub(super) async fn live(State(running): State<Weak<Running>>) -> Html<String> {
    let running = running.upgrade();
    let namespaces = running.as_ref().map_or(&[][..], |running| running.namespaces());
    Html(live_part(namespaces).into_string())
}

pub(super) async fn style() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("page.css"))
}

pub(super) async fn script() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("page.js"))
}

pub(super) async fn icon() -> impl IntoResponse {
    ([(CONTENT_TYPE, "image/svg+xml")], include_str!("icon.svg"))
}

fn live_part(namespaces: &[(Namespace, Emulator)]) -> Markup {
    let now = now();
    html! {
        @for (namespace, emulator) in namespaces {
            section {
                h2 { (namespace.name) " " small { "on " (emulator.address()) } }
                code.connection { (emulator.namespace_connection_string()) }
                @for hub in emulator.event_hubs() { (event_hub(emulator, &hub, now)) }
                (connections(&emulator.connections()))
            }
        }
    }
}

fn event_hub(emulator: &Emulator, hub: &EventHubProperties, now: SystemTime) -> Markup {
    let partitions = &hub.partitions;
    // a hub that is deleted right now has none
    let readers = emulator.receivers(&hub.name).unwrap_or_default();
    let events: usize = partitions.iter().map(|partition| partition.event_count).sum();
    let bytes: u64 = partitions.iter().map(|partition| partition.byte_count).sum();
    let deepest = partitions.iter().map(|partition| partition.event_count).max().unwrap_or(0);
    html! {
        article.hub data-hub=(hub.name) {
            h3 { (hub.name) }
            p.facts {
                (counted(partitions.len(), "partition")) " · " (counted(events, "event")) " · " (size(bytes))
                " · " (counted(readers.len(), "reader"))
            }
            table.partitions {
                thead { tr {
                    th { "Partition" } th.number { "Depth" } th {} th.number { "Bytes" }
                    th.number { "First" } th.number { "Last" } th { "Enqueued" }
                    @for group in &hub.consumer_groups { th { (group) } }
                } }
                tbody {
                    @for partition in partitions.iter().take(MAX_ROWS) {
                        (row(partition, deepest, &hub.consumer_groups, &readers, now))
                    }
                }
            }
            @if partitions.len() > MAX_ROWS { p.more { "and " (partitions.len() - MAX_ROWS) " more" } }
            (owners(&readers))
        }
    }
}

fn row(
    partition: &PartitionProperties,
    deepest: usize,
    groups: &[String],
    readers: &[AttachedReceiver],
    now: SystemTime,
) -> Markup {
    let last = partition.last_enqueued_sequence_number.value();
    let reads = |reader: &&AttachedReceiver, group: &str| {
        reader.partition_id == partition.partition_id && reader.consumer_group == group
    };
    html! {
        tr {
            th scope="row" { (partition.partition_id) }
            td.number { (partition.event_count) }
            td { meter min="0" max=(deepest.max(1)) value=(partition.event_count) {} }
            td.number { (size(partition.byte_count)) }
            td.number { @if partition.event_count > 0 { (partition.beginning_sequence_number) } @else { "–" } }
            td.number { @if last >= 0 { (last) } @else { "–" } }
            td { (partition.last_enqueued_time.map_or_else(|| "never".to_owned(), |time| ago(time, now))) }
            @for group in groups {
                td {
                    @for reader in readers.iter().filter(|reader| reads(reader, group)) {
                        (reader_badge(reader, last))
                    }
                }
            }
        }
    }
}

fn reader_badge(reader: &AttachedReceiver, last: i64) -> Markup {
    let behind = last + 1 - reader.next_sequence_number.value();
    html! {
        div.reader {
            span.name title={ "link " (reader.link_name) } { (label(reader)) }
            @if let Some(level) = reader.owner_level { span.level title="owner level" { (level) } }
            span.lag {
                "next " (reader.next_sequence_number)
                @if behind > 0 { ", " (behind) " behind" }
                @if let Some(credit) = reader.credit { ", credit " (credit) }
            }
        }
    }
}

/// Its own name, or else what its connection can be found by.
fn label(reader: &AttachedReceiver) -> String {
    reader.name.clone().unwrap_or_else(|| format!("connection {}", reader.connection_id))
}

/// Who reads how much, by consumer group.
fn owners(readers: &[AttachedReceiver]) -> Markup {
    let mut owners: BTreeMap<(&str, String), Vec<&AttachedReceiver>> = BTreeMap::new();
    for reader in readers {
        owners.entry((&reader.consumer_group, label(reader))).or_default().push(reader);
    }
    html! {
        @if !owners.is_empty() {
            table.owners {
                caption { "Who owns what" }
                thead { tr {
                    th { "Consumer group" } th { "Reader" } th.number { "Partitions" } th { "Which" }
                    th.number { "Owner level" } th.number { "Delivered" }
                } }
                tbody {
                    @for ((group, name), links) in owners {
                        tr {
                            td { (group) }
                            td { (name) }
                            td.number { (links.len()) }
                            td { (listed(&links)) }
                            td.number { (links.iter().filter_map(|link| link.owner_level).max().map_or("–".to_owned(), |level| level.to_string())) }
                            td.number { (links.iter().map(|link| link.delivered).sum::<u64>()) }
                        }
                    }
                }
            }
        }
    }
}

fn listed(links: &[&AttachedReceiver]) -> String {
    let ids: Vec<_> = links.iter().take(MAX_ROWS).map(|link| link.partition_id.as_str()).collect();
    ids.join(", ")
}

fn connections(clients: &[ConnectedClient]) -> Markup {
    html! {
        h3 { (counted(clients.len(), "connection")) }
        @if !clients.is_empty() {
            table.connections {
                thead { tr { th.number { "Number" } th { "From" } th { "Container" } th { "User agent" } } }
                tbody {
                    @for client in clients {
                        tr {
                            td.number { (client.id) }
                            td { @if let Some(address) = client.address { (address) } }
                            td { (client.container_id) }
                            td { (client.user_agent.as_deref().unwrap_or("–")) }
                        }
                    }
                }
            }
        }
    }
}

/// A choice of all hubs; the script finds namespace and hub in the option.
fn hub_choice(namespaces: &[(Namespace, Emulator)], id: &str) -> Markup {
    html! {
        select id=(id) {
            @for (namespace, emulator) in namespaces {
                @for hub in emulator.event_hubs() {
                    option data-namespace=(namespace.name) data-hub=(hub.name) {
                        @if namespaces.len() > 1 { (namespace.name) " / " }
                        (hub.name)
                    }
                }
            }
        }
    }
}

fn publish_form(namespaces: &[(Namespace, Emulator)]) -> Markup {
    html! {
        form #publish {
            h2 { "Publish a test event" }
            label { "Event hub " (hub_choice(namespaces, "publish-hub")) }
            label { "Partition " input #publish-partition inputmode="numeric" placeholder="any"; }
            label { "Partition key " input #publish-key placeholder="none"; }
            label.wide { "Body " textarea #publish-body rows="3" { "{\"hello\": \"world\"}" } }
            button { "Publish" }
            output #publish-result {}
        }
    }
}

fn live_tail(namespaces: &[(Namespace, Emulator)]) -> Markup {
    html! {
        section #tail {
            h2 { "Live tail" }
            p {
                label { "Event hub " (hub_choice(namespaces, "tail-hub")) }
                button #tail-toggle type="button" { "Start" }
            }
            table {
                thead { tr { th { "Partition" } th.number { "Number" } th { "Enqueued" } th { "Key" } th { "Body" } } }
                tbody #tail-events {}
            }
            p #tail-empty { "Nothing yet." }
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

fn ago(time: SystemTime, now: SystemTime) -> String {
    // the clock of the emulator can be ahead
    let age = now.duration_since(time).unwrap_or(Duration::ZERO).as_secs();
    match age {
        0 => "just now".to_owned(),
        1..120 => format!("{age} s ago"),
        120..7200 => format!("{} min ago", age / 60),
        _ => format!("{} h ago", age / 3600),
    }
}

#[expect(clippy::disallowed_methods, reason = "tells a person how old events are")]
fn now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_are_short() {
        assert_eq!([size(0), size(1536), size(3 << 20)], ["0 B", "1.5 KiB", "3.0 MiB"]);
        let now = now();
        let before = |seconds| ago(now - Duration::from_secs(seconds), now);
        assert_eq!(
            [before(0), before(90), before(600), before(8000)],
            ["just now", "90 s ago", "10 min ago", "2 h ago"]
        );
        assert_eq!(ago(now + Duration::from_secs(5), now), "just now");
    }
}
