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
use tools::tools;

mod tools;

/// How many partitions of one hub are shown.
const MAX_ROWS: usize = 256;

/// How many characters of a name are shown.
const MAX_NAME: usize = 14;

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
                    div.tools { (tools(namespaces)) }
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
    let ever: i64 =
        partitions.iter().map(|partition| 1 + partition.last_enqueued_sequence_number.value()).sum();
    let delivered: u64 = readers.iter().map(|reader| reader.delivered).sum();
    let connection_string = emulator.connection_string(&hub.name);
    html! {
        // The script makes rates of the two numbers.
        article.hub data-hub=(hub.name) data-in=(ever) data-out=(delivered) {
            h3 { (hub.name) }
            p.facts {
                (counted(partitions.len(), "partition")) " · " (counted(events, "event")) " · " (size(bytes))
                " · " (counted(readers.len(), "reader"))
            }
            p.rates { span.in { "– in" } " · " span.out { "– out" } }
            p.connection {
                code title=(connection_string) { (connection_string) }
                button type="button" data-copy=(connection_string) { "Copy" }
            }
            div.scroll {
                table.partitions {
                    thead { tr {
                        th { "Partition" }
                        @for group in &hub.consumer_groups { th { (group) } }
                        th.number { "Events" } th.number.detail { "First" } th.number { "Last" }
                        th.detail { "Enqueued" } th.number.detail { "Bytes" }
                    } }
                    tbody {
                        @for partition in partitions.iter().take(MAX_ROWS) {
                            (row(partition, &hub.consumer_groups, &readers, now))
                        }
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
            @for group in groups {
                td {
                    @for reader in readers.iter().filter(|reader| reads(reader, group)) {
                        (reader_badge(reader, last))
                    }
                }
            }
            td.number { (partition.event_count) }
            td.number.detail {
                @if partition.event_count > 0 { (partition.beginning_sequence_number) } @else { "–" }
            }
            td.number { @if last >= 0 { (last) } @else { "–" } }
            td.detail { (partition.last_enqueued_time.map_or_else(|| "never".to_owned(), |time| ago(time, now))) }
            td.number.detail { (size(partition.byte_count)) }
        }
    }
}

fn reader_badge(reader: &AttachedReceiver, last: i64) -> Markup {
    let behind = (last + 1 - reader.next_sequence_number.value()).max(0);
    let name = label(reader);
    let credit = reader.credit.map_or(String::new(), |credit| format!(", credit: {credit}"));
    html! {
        div.reader {
            span.name title={ (name) ", link " (reader.link_name) } { (short(&name)) }
            @if let Some(level) = reader.owner_level { span.level title="owner level" { "level " (level) } }
            span.lag.behind[behind > 0] title={ "next event: " (reader.next_sequence_number) (credit) } { (behind) " behind" }
        }
    }
}

/// Its own name, or else what its connection can be found by.
fn label(reader: &AttachedReceiver) -> String {
    reader.name.clone().unwrap_or_else(|| format!("connection {}", reader.connection_id))
}

/// The beginning of a long name; the whole is its title.
fn short(name: &str) -> String {
    match name.char_indices().nth(MAX_NAME) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

/// Who reads how much, by consumer group.
fn owners(readers: &[AttachedReceiver]) -> Markup {
    let mut owners: BTreeMap<(&str, String), Vec<&AttachedReceiver>> = BTreeMap::new();
    for reader in readers {
        owners.entry((&reader.consumer_group, label(reader))).or_default().push(reader);
    }
    html! {
        @if !owners.is_empty() {
            div.scroll {
                table.owners {
                    caption { "Who owns what" }
                    thead { tr {
                        th { "Consumer group" } th { "Reader" } th.number.detail { "Partitions" } th { "Which" }
                        th.number.detail { "Owner level" } th.number.detail { "Delivered" }
                    } }
                    tbody {
                        @for ((group, name), links) in owners {
                            tr {
                                td { (group) }
                                td title=(name) { (short(&name)) }
                                td.number.detail { (links.len()) }
                                td { (listed(&links)) }
                                td.number.detail { (highest_level(&links)) }
                                td.number.detail { (links.iter().map(|link| link.delivered).sum::<u64>()) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn highest_level(links: &[&AttachedReceiver]) -> String {
    let highest = links.iter().filter_map(|link| link.owner_level).max();
    highest.map_or("–".to_owned(), |level| level.to_string())
}

fn listed(links: &[&AttachedReceiver]) -> String {
    let ids: Vec<_> = links.iter().take(MAX_ROWS).map(|link| link.partition_id.as_str()).collect();
    ids.join(", ")
}

fn connections(clients: &[ConnectedClient]) -> Markup {
    html! {
        h3 { (counted(clients.len(), "connection")) }
        @if !clients.is_empty() {
            div.scroll {
                table.connections {
                    thead { tr {
                        th.number { "Number" } th { "From" } th.detail { "Container" } th { "User agent" }
                    } }
                    tbody {
                        @for client in clients {
                            tr {
                                td.number { (client.id) }
                                td { @if let Some(address) = client.address { (address) } }
                                td.detail title=(client.container_id) { (short(&client.container_id)) }
                                td { (client.user_agent.as_deref().unwrap_or("–")) }
                            }
                        }
                    }
                }
            }
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
    fn long_names_are_cut_between_characters() {
        assert_eq!(short("pod-0"), "pod-0");
        assert_eq!(short(&"é".repeat(32)), format!("{}…", "é".repeat(MAX_NAME)));
    }

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
