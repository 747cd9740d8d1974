"""What the requests mean in the words of Azure's Python SDK, sync and asyncio alike."""
from datetime import timedelta

from azure.eventhub import EventData, TransportType, parse_connection_string
from azure.eventhub.amqp import AmqpAnnotatedMessage, AmqpMessageBodyType

from common import CONNECTION_STRING, EPOCH, GROUP, WEBSOCKET, millis, plain, text

OPTIONS = {}
if WEBSOCKET:
    # the SDK dials port 443 for a WebSocket, whatever the connection string says, unless it is given an endpoint
    endpoint = parse_connection_string(CONNECTION_STRING).fully_qualified_namespace
    OPTIONS = {"transport_type": TransportType.AmqpOverWebsocket, "custom_endpoint_address": f"sb://{endpoint}"}


def client_options(retry, idle_seconds):
    options = dict(OPTIONS)
    if not retry:
        options["retry_total"] = 0
    if idle_seconds:
        options["idle_timeout"] = idle_seconds
    return options


def receive_options(partition, start, owner_level, last_enqueued):
    options = {"partition_id": partition, "track_last_enqueued_event_properties": last_enqueued}
    if owner_level is not None:
        options["owner_level"] = owner_level
    return options | {
        "starting_position": position(start),
        "starting_position_inclusive": start.get("inclusive", False),
    }


def position(start):
    if "enqueued_ms" in start:
        return EPOCH + timedelta(milliseconds=start["enqueued_ms"])
    if "latest" in start:
        return "@latest"
    return start.get("offset", start.get("sequence_number", "-1"))


def to_event(body, message_id, properties):
    if isinstance(body, dict):
        return AmqpAnnotatedMessage(**{f"{kind}_body": value for kind, value in body.items()})
    event = EventData(body)
    event.message_id, event.properties = message_id, properties
    return event


def from_event(event, context):
    body = plain(event.body) if event.body_type != AmqpMessageBodyType.DATA else event.body_as_str()
    if event.body_type == AmqpMessageBodyType.VALUE:
        body = {"value": body}
    elif event.body_type == AmqpMessageBodyType.SEQUENCE:
        body = {"sequence": [plain(one) for one in event.body]}
    return {
        "partition": context.partition_id,
        "body": body,
        "sequence_number": event.sequence_number,
        "offset": event.offset,
        "enqueued_ms": millis(event.enqueued_time),
        "key": text(event.partition_key),
        "message_id": event.message_id,
        "properties": plain(event.properties),
        "last_enqueued": from_last_enqueued(context.last_enqueued_event_properties),
    }


def from_last_enqueued(properties):
    return properties and {
        "sequence_number": properties["sequence_number"],
        "offset": properties["offset"],
        "enqueued_ms": millis(properties["enqueued_time"]),
        "retrieved_ms": millis(properties["retrieval_time"]),
    }


def from_hub(properties):
    return {"name": properties["eventhub_name"], "partitions": properties["partition_ids"]}


def from_partition(properties):
    written = not properties["is_empty"]
    return {
        "id": properties["id"],
        "beginning": properties["beginning_sequence_number"],
        "last": properties["last_enqueued_sequence_number"],
        "offset": properties["last_enqueued_offset"],
        "enqueued_ms": millis(properties["last_enqueued_time_utc"]) if written else None,
        "empty": properties["is_empty"],
    }


class MemoryStore:
    """The checkpoint store that the processors of this process share."""

    def __init__(self):
        self.owners, self.checkpoints, self.versions = {}, {}, 0

    def list_ownership(self, namespace, hub, group):
        return [dict(record) for (of, _), record in self.owners.items() if of == hub]

    def list_checkpoints(self, namespace, hub, group):
        return [dict(record) for (of, _), record in self.checkpoints.items() if of == hub]

    def update_checkpoint(self, checkpoint):
        self.checkpoints[checkpoint["eventhub_name"], checkpoint["partition_id"]] = dict(checkpoint)

    def claim_ownership(self, records, now):
        claimed = []
        for record in records:
            key = record["eventhub_name"], record["partition_id"]
            if self.owners.get(key, {}).get("etag") == record.get("etag"):
                self.versions += 1
                self.owners[key] = record | {"etag": str(self.versions), "last_modified_time": now}
                claimed.append(dict(self.owners[key]))
        return claimed
