"""The unmodified Python SDK, sync, against an emulator: everything that a consumer and a producer may ask for.

usage: sdk_sync.py CONNECTION_STRING

The connection string names an empty event hub with at least 8 partitions. Prints one line of JSON with the names of the
checks that passed; fails with a traceback otherwise.
"""
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.amqp import AmqpAnnotatedMessage
from azure.eventhub.exceptions import ConnectionLostError, EventHubError

GROUP = "$Default"
LIMIT = 30  # seconds that anything may take
CONNECTION_STRING = sys.argv[1]


def consumer(group=GROUP, **options):
    return EventHubConsumerClient.from_connection_string(CONNECTION_STRING, group, **options)


def producer():
    return EventHubProducerClient.from_connection_string(CONNECTION_STRING)


def send(partition, bodies):
    with producer() as client:
        batch = client.create_batch(partition_id=partition)
        for body in bodies:
            batch.add(EventData(body))
        client.send_batch(batch)


class Reading:
    """One client that receives from one partition in a thread."""

    def __init__(self, partition, group=GROUP, retry_total=3, **options):
        self.events, self.errors, self.last_enqueued = [], [], None
        self.changed = threading.Condition()
        self.client = consumer(group, retry_total=retry_total)
        self.thread = threading.Thread(
            target=self.client.receive,
            kwargs=dict(on_event=self.on_event, on_error=self.on_error, partition_id=partition, **options),
        )
        self.thread.start()

    def on_event(self, context, event):
        with self.changed:
            self.events.append(event)
            self.last_enqueued = context.last_enqueued_event_properties
            self.changed.notify_all()

    def on_error(self, _context, error):
        with self.changed:
            self.errors.append(error)
            self.changed.notify_all()

    def wait_for(self, what, condition):
        with self.changed:
            assert self.changed.wait_for(condition, LIMIT), f"no {what}: {self.bodies()} {self.errors}"

    def bodies(self):
        return [event.body_as_str() for event in self.events]

    def close(self):
        self.client.close()
        self.thread.join(LIMIT)
        assert not self.thread.is_alive(), "the client does not close"


@contextmanager
def reading(partition, group=GROUP, **options):
    reader = Reading(partition, group, **options)
    try:
        yield reader
    finally:
        reader.close()


def read(partition, count, **options):
    """The first events from a position on."""
    with reading(partition, **options) as reader:
        reader.wait_for(f"{count} events", lambda: len(reader.events) >= count)
        assert not reader.errors, reader.errors
        return reader.events


def refusal(partition, group=GROUP, **options):
    """The error with which a receiver is refused. The SDK never shows some errors unless it may not try again."""
    with reading(partition, group, retry_total=0, **options) as reader:
        reader.wait_for("error", lambda: reader.errors)
        return reader.errors[0]


def failure(call):
    try:
        call()
    except EventHubError as error:
        return error
    raise AssertionError("no error")


def hub_properties_are_those_of_the_hub():
    with consumer() as client:
        properties = client.get_eventhub_properties()
    assert properties["eventhub_name"] == "orders", properties
    assert properties["partition_ids"][:8] == [str(n) for n in range(8)], properties
    assert abs(datetime.now(timezone.utc) - properties["created_at"]) < timedelta(minutes=10), properties


def an_empty_partition_says_so():
    with consumer() as client:
        properties = client.get_partition_properties("0")
    assert properties["id"] == "0" and properties["is_empty"] is True, properties
    assert properties["last_enqueued_sequence_number"] == -1 and properties["last_enqueued_offset"] == "-1", properties
    assert properties["last_enqueued_time_utc"].year == 1, properties


def a_batch_is_read_back_in_order():
    send("0", [f"event {n}" for n in range(100)])
    events = read("0", 100, starting_position="-1")
    assert [event.body_as_str() for event in events] == [f"event {n}" for n in range(100)]
    assert [event.sequence_number for event in events] == list(range(100))
    offsets = [event.offset for event in events]
    assert all(isinstance(offset, str) for offset in offsets) and len(set(offsets)) == 100, offsets
    assert offsets[1] != "1"
    times = [event.enqueued_time for event in events]
    assert times == sorted(times) and datetime.now(timezone.utc) - times[0] < timedelta(minutes=10), times


def partition_properties_follow_the_last_event():
    last = read("0", 100, starting_position="-1")[-1]
    with consumer() as client:
        properties = client.get_partition_properties("0")
    assert properties["beginning_sequence_number"] == 0 and not properties["is_empty"], properties
    assert properties["last_enqueued_sequence_number"] == 99, properties
    assert properties["last_enqueued_offset"] == last.offset, properties
    assert properties["last_enqueued_time_utc"] == last.enqueued_time, properties


def everything_a_producer_sets_arrives():
    event = EventData(b"\x00\xff")
    event.properties = {"text": "t", "number": 7, "yes": True}
    event.message_id, event.correlation_id, event.content_type = "m1", "c1", "text/plain"
    with producer() as client:
        client.send_event(event, partition_id="1")
    [got] = read("1", 1, starting_position="-1")
    assert b"".join(got.body) == b"\x00\xff", got
    assert got.properties == {b"text": b"t", b"number": 7, b"yes": True}, got.properties
    assert (got.message_id, got.correlation_id, got.content_type) == ("m1", "c1", "text/plain"), got
    assert got.system_properties[b"message-id"] == b"m1", got.system_properties
    assert got.system_properties[b"x-opt-sequence-number"] == 0, got.system_properties
    assert got.system_properties[b"x-opt-offset"] == b"0", got.system_properties


def bodies_of_all_kinds_arrive():
    with producer() as client:
        batch = client.create_batch(partition_id="2")
        batch.add(AmqpAnnotatedMessage(data_body=[b"one", b"two"]))
        batch.add(AmqpAnnotatedMessage(value_body={"key": [1, None, "three"]}))
        batch.add(AmqpAnnotatedMessage(sequence_body=[[1, 2], ["three"]]))
        client.send_batch(batch)
    data, value, sequence = read("2", 3, starting_position="-1")
    assert list(data.body) == [b"one", b"two"], data
    assert value.body == {b"key": [1, None, b"three"]}, value.body
    assert list(sequence.body) == [[1, 2], [b"three"]], sequence.body


def one_key_goes_to_one_partition():
    with producer() as client:
        before = heads(client)
        for _ in range(3):
            client.send_event(EventData("keyed"), partition_key="a key")
        batch = client.create_batch(partition_key="a key")
        for _ in range(3):
            batch.add(EventData("keyed"))
        client.send_batch(batch)
        grown = {id: after - before[id] for id, after in heads(client).items() if after != before[id]}
    assert list(grown.values()) == [6], grown
    [partition] = grown
    position = before[partition] if before[partition] >= 0 else "-1"
    events = read(partition, 6, starting_position=position)
    assert {event.partition_key for event in events} == {b"a key"}, events


def events_without_a_key_go_round():
    with producer() as client:
        before = heads(client)
        for n in range(16):
            client.send_event(EventData(str(n)))
        grown = [after - before[id] for id, after in heads(client).items()]
    assert grown == [2] * 8, grown


def heads(client):
    ids = client.get_partition_ids()
    return {id: client.get_partition_properties(id)["last_enqueued_sequence_number"] for id in ids}


def every_starting_position_is_honoured():
    events = read("0", 100, starting_position="-1")
    fiftieth = events[50]
    cases = {
        "offset": (fiftieth.offset, False, 51),
        "offset, inclusive": (fiftieth.offset, True, 50),
        "sequence number": (50, False, 51),
        "sequence number, inclusive": (50, True, 50),
        "sequence number 0, inclusive": (0, True, 0),
        "time before all": (events[0].enqueued_time - timedelta(seconds=1), False, 0),
        "time of the first, inclusive": (events[0].enqueued_time, True, 0),
    }

    def first(case):
        position, inclusive, _ = case
        [event, *_] = read("0", 1, starting_position=position, starting_position_inclusive=inclusive)
        return event.sequence_number

    # not all at once: a sixth reader would be refused
    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(cases, pool.map(first, cases.values())))
    assert found == {name: expected for name, (_, _, expected) in cases.items()}, found


def latest_starts_behind_the_last_event():
    with reading("0", starting_position="@latest") as reader, producer() as client:
        sent = 0
        while not reader.events:
            client.send_event(EventData(f"late {sent}"), partition_id="0")
            sent += 1
            assert sent < LIMIT and not reader.errors, reader.errors
            with reader.changed:
                # not less: the SDK calls back when its socket was silent for a moment
                reader.changed.wait_for(lambda: reader.events, 1)
        client.send_event(EventData("last"), partition_id="0")
        reader.wait_for("last event", lambda: reader.bodies()[-1] == "last")
        got = [event.sequence_number for event in reader.events]
    assert got == list(range(got[0], 100 + sent + 1)) and got[0] >= 100, got
    assert reader.bodies()[:-1] == [f"late {number - 100}" for number in got[:-1]], reader.bodies()


def a_higher_owner_level_steals():
    send("3", ["event"])
    with reading("3", starting_position="-1", owner_level=1) as low:
        low.wait_for("event", lambda: low.events)
        with reading("3", starting_position="-1", owner_level=2) as high:
            high.wait_for("event", lambda: high.events)
            low.wait_for("end", lambda: low.errors)
            stolen = low.errors[0]
            assert isinstance(stolen, ConnectionLostError) and "amqp:link:stolen" in str(stolen), stolen
            assert "with higher epoch of '2' is created" in str(stolen), stolen
            lower = refusal("3", starting_position="-1", owner_level=1)
            assert "with a higher epoch '2' already exists" in str(lower), lower
            without = refusal("3", starting_position="-1")
            assert "non-epoch receiver is not allowed" in str(without), without
            assert not high.errors, high.errors


def equal_owner_levels_let_the_latest_win():
    send("4", ["event"])
    with reading("4", starting_position="-1", owner_level=0) as first:
        first.wait_for("event", lambda: first.events)
        with reading("4", starting_position="-1", owner_level=0) as second:
            second.wait_for("event", lambda: second.events)
            first.wait_for("end", lambda: first.errors)
            assert "amqp:link:stolen" in str(first.errors[0]), first.errors


def last_enqueued_properties_come_with_each_event():
    send("5", ["one", "two", "three"])
    with reading("5", starting_position="-1", track_last_enqueued_event_properties=True) as reader:
        reader.wait_for("events", lambda: len(reader.events) >= 3)
        last, tracked = reader.events[-1], reader.last_enqueued
    assert tracked["sequence_number"] == last.sequence_number, tracked
    assert tracked["offset"] == last.offset, tracked
    assert tracked["enqueued_time"] == last.enqueued_time, tracked
    assert tracked["retrieval_time"] >= last.enqueued_time, tracked


def what_does_not_exist_is_refused():
    with consumer(retry_total=0) as client:
        error = failure(lambda: client.get_partition_properties("99"))
        assert "Status code: 404" in str(error), error
    ahead = refusal("5", starting_position="999999")
    assert "The supplied offset '999999' is invalid" in str(ahead), ahead
    group = refusal("5", group="no-such-group", starting_position="-1")
    assert "could not be found" in str(group), group


CHECKS = [
    hub_properties_are_those_of_the_hub,
    an_empty_partition_says_so,
    a_batch_is_read_back_in_order,
    partition_properties_follow_the_last_event,
    everything_a_producer_sets_arrives,
    bodies_of_all_kinds_arrive,
    every_starting_position_is_honoured,
    latest_starts_behind_the_last_event,
    a_higher_owner_level_steals,
    equal_owner_levels_let_the_latest_win,
    last_enqueued_properties_come_with_each_event,
    one_key_goes_to_one_partition,
    events_without_a_key_go_round,
    what_does_not_exist_is_refused,
]

if __name__ == "__main__":
    for check in CHECKS:
        started = time.monotonic()
        check()
        print(f"{check.__name__}: {time.monotonic() - started:.1f} s", file=sys.stderr)
    print(json.dumps({"sdk": "azure-eventhub sync", "passed": [check.__name__ for check in CHECKS]}))
