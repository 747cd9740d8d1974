"""Reads events with Python's azure-eventhub and prints what it cost: receive.py sync|aio PORT PARTITIONS PREFETCH SECONDS."""

import asyncio
import json
import os
import resource
import sys
import threading
import time

MODE = sys.argv[1]
PORT, PARTITIONS, PREFETCH = map(int, sys.argv[2:5])
SECONDS = float(sys.argv[5])
CONNECTION_STRING = (
    f"Endpoint=sb://localhost:{PORT};SharedAccessKeyName=bench;SharedAccessKey=c2VjcmV0;"
    "EntityPath=hub;UseDevelopmentEmulator=true"
)
PATIENCE = 120

events = 0
# A partition is attached in tens of milliseconds; what is measured begins when all of them are.
reading = set()


def snapshot():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return events, time.monotonic_ns(), int((usage.ru_utime + usage.ru_stime) * 1e9), usage.ru_maxrss


def measure():
    patient_until = time.monotonic() + PATIENCE
    while len(reading) < PARTITIONS:
        if time.monotonic() > patient_until:
            print(f"events from {len(reading)} of {PARTITIONS} partitions", file=sys.stderr)
            os._exit(1)
        time.sleep(0.001)
    time.sleep(SECONDS / 10)
    began = snapshot()
    time.sleep(SECONDS)
    ended = snapshot()
    print(json.dumps({
        "events": ended[0] - began[0],
        "nanos": ended[1] - began[1],
        "cpu_nanos": ended[2] - began[2],
        "allocations": None,
        "max_rss_kib": ended[3],
        "p50_micros": None,
        "p99_micros": None,
    }), flush=True)
    os._exit(0)


def read_sync():
    from azure.eventhub import EventHubConsumerClient

    def on_event(context, _event):
        global events
        events += 1
        reading.add(context.partition_id)

    client = EventHubConsumerClient.from_connection_string(CONNECTION_STRING, "$Default")
    client.receive(on_event=on_event, starting_position="-1", prefetch=PREFETCH)


async def read_aio():
    from azure.eventhub.aio import EventHubConsumerClient

    async def on_event(context, _event):
        global events
        events += 1
        reading.add(context.partition_id)

    client = EventHubConsumerClient.from_connection_string(CONNECTION_STRING, "$Default")
    await client.receive(on_event=on_event, starting_position="-1", prefetch=PREFETCH)


threading.Thread(target=measure, daemon=True).start()
if MODE == "sync":
    read_sync()
else:
    asyncio.run(read_aio())
