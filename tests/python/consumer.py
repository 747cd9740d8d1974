"""One instance of a consumer on the official Python SDK; see tests/src/bin/instance.rs for what it prints."""

import os
import signal
import threading

from azure.eventhub import EventHubConsumerClient
from azure.eventhub.extensions.checkpointstoreblob import BlobCheckpointStore

every = int(os.environ["CHECKPOINT_EVERY"])
store = BlobCheckpointStore.from_connection_string(os.environ["STORAGE"], os.environ["CONTAINER"])
client = EventHubConsumerClient.from_connection_string(
    os.environ["EVENT_HUB"],
    "$Default",
    checkpoint_store=store,
    load_balancing_interval=0.5,
    partition_ownership_expiration_interval=float(os.environ["EXPIRY_SECONDS"]),
)


def on_event(context, event):
    number = event.sequence_number
    print("handled", context.partition_id, number, flush=True)
    if (number + 1) % every == 0:
        context.update_checkpoint(event)
        print("checkpoint", context.partition_id, number, flush=True)


def on_error(context, error):
    where = context.partition_id if context else "-"
    print("error", where, repr(error), flush=True)


stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
receiving = threading.Thread(
    target=client.receive,
    kwargs={"on_event": on_event, "on_error": on_error, "starting_position": "-1"},
)
receiving.start()
stop.wait()
client.close()
receiving.join()
