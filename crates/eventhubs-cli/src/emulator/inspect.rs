//! What can be seen of hubs, readers, clients and requests, as JSON.

use std::sync::Weak;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Path, State};
use eventhubs_emulator::{AttachedReceiver, ConnectedClient, PartitionProperties, ReceivedRequest};
use serde_json::{Value, json};

use super::running::Running;
use super::site::{Answer, ok, with_emulator};

/// All namespaces with their hubs.
pub(super) async fn namespaces(State(running): State<Weak<Running>>) -> Answer {
    let running = running.upgrade();
    let all = running.iter().flat_map(|running| running.namespaces());
    let all = all.map(|(namespace, emulator)| {
        let hubs = emulator.event_hubs().into_iter().map(|hub| {
            json!({
                "name": hub.name,
                "partition_count": hub.partitions.len(),
                "consumer_groups": hub.consumer_groups,
            })
        });
        let hubs: Vec<_> = hubs.collect();
        json!({ "name": namespace.name, "address": emulator.address().to_string(), "event_hubs": hubs })
    });
    ok(all.collect())
}

/// What the partitions of a hub hold.
pub(super) async fn partitions(
    State(running): State<Weak<Running>>,
    Path((namespace, hub)): Path<(String, String)>,
) -> Answer {
    with_emulator(&running, &namespace, |emulator| {
        Ok(ok(emulator.partitions(&hub)?.iter().map(partition).collect()))
    })
}

/// Who reads a hub.
pub(super) async fn receivers(
    State(running): State<Weak<Running>>,
    Path((namespace, hub)): Path<(String, String)>,
) -> Answer {
    with_emulator(&running, &namespace, |emulator| {
        Ok(ok(emulator.receivers(&hub)?.iter().map(receiver).collect()))
    })
}

/// Who is connected.
pub(super) async fn connections(
    State(running): State<Weak<Running>>,
    Path(namespace): Path<String>,
) -> Answer {
    with_emulator(&running, &namespace, |emulator| {
        Ok(ok(emulator.connections().iter().map(client).collect()))
    })
}

/// What was asked of `$cbs` and `$management`.
pub(super) async fn requests(State(running): State<Weak<Running>>, Path(namespace): Path<String>) -> Answer {
    with_emulator(&running, &namespace, |emulator| Ok(ok(emulator.requests().iter().map(request).collect())))
}

fn partition(partition: &PartitionProperties) -> Value {
    json!({
        "partition_id": partition.partition_id,
        "beginning_sequence_number": partition.beginning_sequence_number.value(),
        "last_enqueued_sequence_number": partition.last_enqueued_sequence_number.value(),
        "last_enqueued_offset": partition.last_enqueued_offset.as_str(),
        "last_enqueued_time_ms": partition.last_enqueued_time.map(milliseconds),
        "event_count": partition.event_count,
        "byte_count": partition.byte_count,
    })
}

fn receiver(receiver: &AttachedReceiver) -> Value {
    json!({
        "connection_id": receiver.connection_id,
        "link_name": receiver.link_name,
        "consumer_group": receiver.consumer_group,
        "partition_id": receiver.partition_id,
        "owner_level": receiver.owner_level,
        "name": receiver.name,
        "next_sequence_number": receiver.next_sequence_number.value(),
        "credit": receiver.credit,
        "delivered": receiver.delivered,
    })
}

fn client(client: &ConnectedClient) -> Value {
    json!({
        "id": client.id,
        "address": client.address.map(|address| address.to_string()),
        "container_id": client.container_id,
        "user_agent": client.user_agent,
    })
}

fn request(request: &ReceivedRequest) -> Value {
    json!({
        "connection_id": request.connection_id,
        "node": request.node,
        "operation": request.operation,
        "name": request.name,
        "partition_id": request.partition_id,
        "status": request.status,
    })
}

/// Since 1970.
pub(super) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
