"""Sends an event with each of these properties, where {"bytes": text} are bytes: `traces.py CONNECTION_STRING HUB JSON`."""

import json
import sys

from azure.eventhub import EventData, EventHubProducerClient

connection_string, hub, cases = sys.argv[1:]


def decode(value):
    return value["bytes"].encode() if value.keys() == {"bytes"} else value


def event(properties):
    data = EventData("event")
    data.properties = properties
    return data


client = EventHubProducerClient.from_connection_string(connection_string, eventhub_name=hub)
with client:
    events = [event(properties) for properties in json.loads(cases, object_hook=decode)]
    client.send_batch(events, partition_id="0")
