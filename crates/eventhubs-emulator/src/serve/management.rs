//! The properties of hubs and partitions (docs/contract.md §4).

use fe2o3_amqp_types::primitives::{Array, OrderedMap, Timestamp, Value};

use crate::auth::grants::Grants;
use crate::auth::sas;
use crate::condition::NOT_FOUND;
use crate::event::message::AnyMessage;
use crate::hub::{Hub, Partition};
use crate::serve::broker::Broker;
use crate::serve::cbs;
use crate::serve::response::{Response, string_property};

const HUB_TYPE: &str = "com.microsoft:eventhub";
const PARTITION_TYPE: &str = "com.microsoft:partition";

/// Answers a `READ` request, for which a token has come over CBS or comes with the request: some clients send no other.
pub(crate) fn read(broker: &Broker, grants: &Grants, request: &AnyMessage, now_ms: i64) -> Response {
    if string_property(request, "operation") != Some("READ") {
        return Response::status(400, "The operation is not READ.");
    }
    let name = string_property(request, "name").unwrap_or_default();
    let Some(hub) = broker.hubs.find(name) else {
        return not_found(name);
    };
    if !grants.open_management(name, now_ms) && !brings_token(broker, request, &hub, now_ms) {
        return Response::status(
            401,
            "Unauthorized access. 'Listen' claim(s) are required to perform this operation.",
        );
    }
    if let Err(busy) = hub.faults.busy() {
        return Response::refusal(busy);
    }
    match string_property(request, "type") {
        Some(HUB_TYPE) => Response::value(hub_properties(&hub)),
        Some(PARTITION_TYPE) => {
            let id = string_property(request, "partition").unwrap_or_default();
            match hub.partition(id) {
                Some(partition) => Response::value(partition_properties(&hub, &partition)),
                None => not_found(&format!("{name}/Partitions/{id}")),
            }
        }
        _ => Response::status(400, "The type is not known."),
    }
}

/// Whether the request carries a token that opens its hub.
fn brings_token(broker: &Broker, request: &AnyMessage, hub: &Hub, now_ms: i64) -> bool {
    let token = string_property(request, "security_token").unwrap_or_default();
    let is_jwt = broker.takes_jwt && cbs::has_form_of_jwt(token);
    is_jwt || sas::verify(token, &hub.name, &broker.keys, now_ms).is_ok()
}

fn not_found(entity: &str) -> Response {
    Response::status(404, format!("The messaging entity '{entity}' could not be found.")).condition(NOT_FOUND)
}

fn hub_properties(hub: &Hub) -> Value {
    let ids = hub.partitions().iter().map(|partition| Value::from(partition.id.as_str())).collect();
    map([
        ("name", Value::from(hub.name.as_str())),
        ("type", Value::from(HUB_TYPE)),
        ("created_at", Value::Timestamp(Timestamp::from(hub.created_ms))),
        ("partition_count", Value::Int(i32::try_from(hub.partitions().len()).unwrap_or(i32::MAX))),
        ("partition_ids", Value::Array(Array(ids))),
        ("georeplication_factor", Value::Int(if hub.era() == 0 { 1 } else { 2 })),
    ])
}

fn partition_properties(hub: &Hub, partition: &Partition) -> Value {
    let log = partition.log();
    let head = log.head();
    let epoch = if log.era() == 0 { -1 } else { i32::from(log.era()) };
    map([
        ("name", Value::from(hub.name.as_str())),
        ("type", Value::from(PARTITION_TYPE)),
        ("partition", Value::from(partition.id.as_str())),
        ("begin_sequence_number", Value::Long(log.first_sequence_number())),
        ("last_enqueued_sequence_number", Value::Long(head.sequence_number)),
        ("last_enqueued_offset", Value::String(head.offset.to_string())),
        ("last_enqueued_time_utc", Value::Timestamp(Timestamp::from(head.enqueued_ms))),
        ("is_partition_empty", Value::Bool(log.len() == 0)),
        ("begin_sequence_number_epoch", Value::Int(epoch)),
        ("last_enqueued_sequence_number_epoch", Value::Int(epoch)),
    ])
}

fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Map(
        entries.into_iter().map(|(key, value)| (Value::from(key), value)).collect::<OrderedMap<_, _>>(),
    )
}
