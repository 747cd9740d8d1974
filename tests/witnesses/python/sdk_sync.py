"""The witness of Azure's Python SDK, sync: `sdk_sync.py CONNECTION_STRING [--websocket]`; see common.py."""
import threading
import time

from azure.eventhub import CheckpointStore, EventHubConsumerClient, EventHubProducerClient

import sdk_words as words
from common import CONNECTION_STRING, GROUP, describe, obey, say


class Store(words.MemoryStore, CheckpointStore):
    lock = threading.Lock()

    def claim_ownership(self, ownership_list, **_):
        with self.lock:
            return super().claim_ownership(ownership_list, time.time())

    def update_checkpoint(self, checkpoint, **_):
        super().update_checkpoint(checkpoint)


class Witness:
    def __init__(self):
        self.readers, self.store = {}, Store()

    def properties(self, hub):
        with consumer(hub) as client:
            return words.from_hub(client.get_eventhub_properties())

    def partition(self, hub, partition):
        with consumer(hub) as client:
            return words.from_partition(client.get_partition_properties(partition))

    def send(self, hub, bodies, batch, partition=None, key=None, message_id=None, properties=None):
        events = [words.to_event(body, message_id, properties) for body in bodies]
        to = dict(partition_id=partition, partition_key=key)
        producer = EventHubProducerClient.from_connection_string(
            CONNECTION_STRING, eventhub_name=hub, **words.OPTIONS
        )
        with producer as client:
            if not batch:
                for event in events:
                    client.send_event(event, **to)
                return
            whole = client.create_batch(**to)
            for event in events:
                whole.add(event)
            client.send_batch(whole)

    def read(self, reader, hub, partition, group, start, owner_level, last_enqueued, retry, idle_seconds):
        client = consumer(hub, group, **words.client_options(retry, idle_seconds))
        options = words.receive_options(partition, start, owner_level, last_enqueued)
        self.start(reader, client, lambda context, event: None, options)

    def process(self, reader, hub):
        client = consumer(
            hub, checkpoint_store=self.store, load_balancing_interval=1, partition_ownership_expiration_interval=10
        )
        checkpoint = lambda context, event: context.update_checkpoint(event)
        self.start(reader, client, checkpoint, {"starting_position": "-1"})

    def start(self, reader, client, first, options):
        def on_event(context, event):
            first(context, event)
            say(reader=reader, event=words.from_event(event, context))

        def on_error(_context, error):
            say(reader=reader, error=describe(error))

        options |= {"on_event": on_event, "on_error": on_error}
        thread = threading.Thread(target=client.receive, kwargs=options, daemon=True)
        thread.start()
        self.readers[reader] = client, thread

    def stop(self, reader):
        client, thread = self.readers.pop(reader)
        client.close()
        thread.join(20)
        assert not thread.is_alive(), "the client does not close"


def consumer(hub, group=GROUP, **options):
    return EventHubConsumerClient.from_connection_string(
        CONNECTION_STRING, group, eventhub_name=hub, **(words.OPTIONS | options)
    )


obey(Witness())
