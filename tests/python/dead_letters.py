"""Reads events with the official Python SDK and prints each as a line of JSON: `dead_letters.py CONNECTION_STRING COUNT`."""

import json
import sys
import threading

from azure.eventhub import EventHubConsumerClient

connection_string, count = sys.argv[1], int(sys.argv[2])
client = EventHubConsumerClient.from_connection_string(connection_string, "$Default")
done, seen = threading.Event(), []


def plain(value):
    match value:
        case bytes():
            return value.decode()
        case dict():
            return {plain(key): plain(each) for key, each in value.items()}
        case None | bool() | int() | str():
            return value
        case _ if hasattr(value, "__iter__"):
            return [plain(each) for each in value]
    return str(value)


def on_event(_context, event):
    seen.append({"kind": event.body_type.name, "body": plain(event.body), "properties": plain(event.properties)})
    if len(seen) == count:
        done.set()


receiving = threading.Thread(
    target=client.receive, kwargs={"on_event": on_event, "starting_position": "-1"}, daemon=True
)
receiving.start()
if not done.wait(60):
    sys.exit(f"only {len(seen)} events came")
client.close()
receiving.join()
for event in sorted(seen, key=lambda event: event["properties"]["x-original-sequence-number"]):
    print(json.dumps(event, sort_keys=True))
