"""The witness of Azure's Python SDK, asyncio: `sdk_aio.py CONNECTION_STRING [--websocket]`; see common.py."""
import asyncio
import functools
import threading
import time

from azure.eventhub.aio import CheckpointStore, EventHubConsumerClient, EventHubProducerClient

import sdk_words as words
from common import CONNECTION_STRING, GROUP, describe, obey, say

loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()


def in_loop(method):
    """A request waits until the loop has done it."""
    return functools.wraps(method)(
        lambda *args, **kwargs: asyncio.run_coroutine_threadsafe(method(*args, **kwargs), loop).result()
    )


class Store(words.MemoryStore, CheckpointStore):
    async def list_ownership(self, *scope, **_):
        return super().list_ownership(*scope)

    async def list_checkpoints(self, *scope, **_):
        return super().list_checkpoints(*scope)

    async def claim_ownership(self, ownership_list, **_):
        return super().claim_ownership(ownership_list, time.time())

    async def update_checkpoint(self, checkpoint, **_):
        super().update_checkpoint(checkpoint)


class Witness:
    def __init__(self):
        self.readers, self.store = {}, Store()

    @in_loop
    async def properties(self, hub):
        async with consumer(hub) as client:
            return words.from_hub(await client.get_eventhub_properties())

    @in_loop
    async def partition(self, hub, partition):
        async with consumer(hub) as client:
            return words.from_partition(await client.get_partition_properties(partition))

    @in_loop
    async def send(self, hub, bodies, batch, partition=None, key=None, message_id=None, properties=None):
        events = [words.to_event(body, message_id, properties) for body in bodies]
        to = dict(partition_id=partition, partition_key=key)
        producer = EventHubProducerClient.from_connection_string(
            CONNECTION_STRING, eventhub_name=hub, **words.OPTIONS
        )
        async with producer as client:
            if not batch:
                for event in events:
                    await client.send_event(event, **to)
                return
            whole = await client.create_batch(**to)
            for event in events:
                whole.add(event)
            await client.send_batch(whole)

    @in_loop
    async def read(self, reader, hub, partition, group, start, owner_level, last_enqueued, retry, idle_seconds):
        client = consumer(hub, group, **words.client_options(retry, idle_seconds))
        options = words.receive_options(partition, start, owner_level, last_enqueued)

        async def nothing_first(_context, _event):
            pass

        self.start(reader, client, nothing_first, options)

    @in_loop
    async def process(self, reader, hub):
        client = consumer(
            hub, checkpoint_store=self.store, load_balancing_interval=1, partition_ownership_expiration_interval=10
        )

        async def checkpoint(context, event):
            await context.update_checkpoint(event)

        self.start(reader, client, checkpoint, {"starting_position": "-1"})

    def start(self, reader, client, first, options):
        async def on_event(context, event):
            await first(context, event)
            say(reader=reader, event=words.from_event(event, context))

        async def on_error(_context, error):
            say(reader=reader, error=describe(error))

        receiving = client.receive(on_event=on_event, on_error=on_error, **options)
        self.readers[reader] = client, loop.create_task(receiving)

    @in_loop
    async def stop(self, reader):
        client, task = self.readers.pop(reader)
        await client.close()
        task.cancel()  # it would sleep until its next load balancing
        await asyncio.wait([task], timeout=20)


def consumer(hub, group=GROUP, **options):
    return EventHubConsumerClient.from_connection_string(
        CONNECTION_STRING, group, eventhub_name=hub, **(words.OPTIONS | options)
    )


obey(Witness())
