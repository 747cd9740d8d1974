"""The unmodified Python SDK, asyncio, against an emulator. What depends on the SDK alone is checked by sdk_sync.py.

usage: sdk_aio.py CONNECTION_STRING [--websocket]

The connection string names an empty event hub with at least 8 partitions. Prints one line of JSON with the names of the
checks that passed; fails with a traceback otherwise.
"""
import asyncio
import json
import sys
import time
from contextlib import asynccontextmanager
from datetime import timedelta

from azure.eventhub import EventData, TransportType, parse_connection_string
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.exceptions import ConnectionLostError

GROUP = "$Default"
LIMIT = 30  # seconds that anything may take
CONNECTION_STRING = sys.argv[1]
OPTIONS = {}
if "--websocket" in sys.argv:
    # the SDK dials port 443 for a WebSocket, whatever the connection string says, unless it is given an endpoint
    endpoint = parse_connection_string(CONNECTION_STRING).fully_qualified_namespace
    OPTIONS = {"transport_type": TransportType.AmqpOverWebsocket, "custom_endpoint_address": f"sb://{endpoint}"}


def consumer(**options):
    return EventHubConsumerClient.from_connection_string(CONNECTION_STRING, GROUP, **OPTIONS, **options)


def producer():
    return EventHubProducerClient.from_connection_string(CONNECTION_STRING, **OPTIONS)


async def send(bodies, **to):
    async with producer() as client:
        batch = await client.create_batch(**to)
        for body in bodies:
            batch.add(EventData(body))
        await client.send_batch(batch)


class Reading:
    """One client that receives in a task."""

    def __init__(self, retry_total=3, **options):
        self.events, self.errors, self.last_enqueued = [], [], None
        self.changed = asyncio.Condition()
        self.client = consumer(retry_total=retry_total)
        receive = self.client.receive(on_event=self.on_event, on_error=self.on_error, **options)
        self.task = asyncio.create_task(receive)

    async def on_event(self, context, event):
        async with self.changed:
            self.events.append((context.partition_id, event))
            self.last_enqueued = context.last_enqueued_event_properties
            self.changed.notify_all()

    async def on_error(self, _context, error):
        async with self.changed:
            self.errors.append(error)
            self.changed.notify_all()

    async def wait_for(self, what, condition):
        async with self.changed:
            try:
                await asyncio.wait_for(self.changed.wait_for(condition), LIMIT)
            except asyncio.TimeoutError:
                raise AssertionError(f"no {what}: {self.bodies()} {self.errors}") from None

    def bodies(self):
        return [event.body_as_str() for _, event in self.events]

    async def close(self):
        await self.client.close()
        self.task.cancel()  # it would sleep until its next load balancing
        await asyncio.wait([self.task], timeout=LIMIT)


@asynccontextmanager
async def reading(**options):
    reader = Reading(**options)
    try:
        yield reader
    finally:
        await reader.close()


async def read(count, **options):
    """The first events from a position on."""
    async with reading(**options) as reader:
        await reader.wait_for(f"{count} events", lambda: len(reader.events) >= count)
        assert not reader.errors, reader.errors
        return [event for _, event in reader.events]


async def refusal(**options):
    """The error with which a receiver is refused."""
    async with reading(retry_total=0, **options) as reader:
        await reader.wait_for("error", lambda: reader.errors)
        return reader.errors[0]


async def properties_are_those_of_hub_and_partition():
    async with consumer() as client:
        hub = await client.get_eventhub_properties()
        partition = await client.get_partition_properties("7")
    assert hub["eventhub_name"] == "orders" and hub["partition_ids"][:8] == [str(n) for n in range(8)], hub
    assert partition["is_empty"] is True and partition["last_enqueued_sequence_number"] == -1, partition


async def a_batch_is_read_back_in_order():
    await send([f"event {n}" for n in range(1000)], partition_id="0")
    events = await read(1000, partition_id="0", starting_position="-1")
    assert [event.body_as_str() for event in events] == [f"event {n}" for n in range(1000)]
    assert [event.sequence_number for event in events] == list(range(1000))


async def partition_properties_follow_the_last_event():
    [last] = await read(1, partition_id="0", starting_position=998)
    async with consumer() as client:
        properties = await client.get_partition_properties("0")
    assert properties["last_enqueued_sequence_number"] == last.sequence_number == 999, properties
    assert properties["last_enqueued_offset"] == last.offset, properties
    assert properties["last_enqueued_time_utc"] == last.enqueued_time, properties


async def every_starting_position_is_honoured():
    [zeroth] = (await read(1, partition_id="0", starting_position="-1"))[:1]
    [fiftieth] = (await read(1, partition_id="0", starting_position=49))[:1]
    cases = [
        (fiftieth.offset, False, 51),
        (fiftieth.offset, True, 50),
        (50, False, 51),
        (50, True, 50),
        (zeroth.enqueued_time - timedelta(seconds=1), False, 0),
        (zeroth.enqueued_time, True, 0),
    ]

    async def check(position, inclusive, expected):
        options = dict(starting_position=position, starting_position_inclusive=inclusive)
        first = (await read(1, partition_id="0", **options))[0]
        assert first.sequence_number == expected, (position, inclusive, first.sequence_number)

    # not all at once: a sixth reader would be refused
    for some in (cases[:3], cases[3:]):
        await asyncio.gather(*(check(*case) for case in some))


async def latest_starts_behind_the_last_event():
    async with reading(partition_id="0", starting_position="@latest") as reader:
        for sent in range(LIMIT):
            await send([f"late {sent}"], partition_id="0")
            if reader.events:
                break
            await asyncio.sleep(0.5)
        await reader.wait_for("late event", lambda: reader.events)
        assert all(body.startswith("late ") for body in reader.bodies()), reader.bodies()


async def a_higher_owner_level_steals():
    await send(["event"], partition_id="3")
    options = dict(partition_id="3", starting_position="-1")
    async with reading(owner_level=1, **options) as low:
        await low.wait_for("event", lambda: low.events)
        async with reading(owner_level=2, **options) as high:
            await high.wait_for("event", lambda: high.events)
            await low.wait_for("end", lambda: low.errors)
            stolen = low.errors[0]
            assert isinstance(stolen, ConnectionLostError) and "amqp:link:stolen" in str(stolen), stolen
            lower = await refusal(owner_level=1, **options)
            assert "with a higher epoch '2' already exists" in str(lower), lower
            assert not high.errors, high.errors


async def last_enqueued_properties_come_with_each_event():
    await send(["one", "two", "three"], partition_id="5")
    options = dict(partition_id="5", starting_position="-1", track_last_enqueued_event_properties=True)
    async with reading(**options) as reader:
        await reader.wait_for("events", lambda: len(reader.events) >= 3)
        (_, last), tracked = reader.events[-1], reader.last_enqueued
    assert (tracked["sequence_number"], tracked["offset"]) == (last.sequence_number, last.offset), tracked
    assert tracked["enqueued_time"] == last.enqueued_time <= tracked["retrieval_time"], tracked


async def one_client_reads_all_partitions():
    await asyncio.gather(*(send([f"marker {p}"], partition_id=str(p)) for p in range(8)))
    async with reading(starting_position="-1") as reader:
        markers = lambda: {(p, e.body_as_str()) for p, e in reader.events if e.body_as_str().startswith("marker")}
        await reader.wait_for("marker of each partition", lambda: len(markers()) == 8)
        assert markers() == {(str(p), f"marker {p}") for p in range(8)}, markers()


CHECKS = [
    properties_are_those_of_hub_and_partition,
    a_batch_is_read_back_in_order,
    partition_properties_follow_the_last_event,
    every_starting_position_is_honoured,
    latest_starts_behind_the_last_event,
    a_higher_owner_level_steals,
    last_enqueued_properties_come_with_each_event,
    one_client_reads_all_partitions,
]


async def main():
    for check in CHECKS:
        started = time.monotonic()
        await check()
        print(f"{check.__name__}: {time.monotonic() - started:.1f} s", file=sys.stderr)
    print(json.dumps({"sdk": "azure-eventhub aio", "passed": [check.__name__ for check in CHECKS]}))


if __name__ == "__main__":
    asyncio.run(main())
