"""Reads events with Python's azure-eventhub and prints what it cost: receive.py sync|aio PORT PREFETCH SECONDS."""

import asyncio
import json
import os
import resource
import sys
import threading
import time

MODE, PORT, PREFETCH, SECONDS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
CONNECTION_STRING = (
    f"Endpoint=sb://localhost:{PORT};SharedAccessKeyName=bench;SharedAccessKey=c2VjcmV0;"
    "EntityPath=hub;UseDevelopmentEmulator=true"
)
PATIENCE = 30

events = 0


def snapshot():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return events, time.monotonic_ns(), int((usage.ru_utime + usage.ru_stime) * 1e9), usage.ru_maxrss


def measure():
    patient_until = time.monotonic() + PATIENCE
    while events == 0:
        if time.monotonic() > patient_until:
            print("no event", file=sys.stderr)
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

    def on_event(_context, _event):
        global events
        events += 1

    client = EventHubConsumerClient.from_connection_string(CONNECTION_STRING, "$Default")
    client.receive(on_event=on_event, starting_position="-1", prefetch=PREFETCH)


async def read_aio():
    from azure.eventhub.aio import EventHubConsumerClient

    async def on_event(_context, _event):
        global events
        events += 1

    client = EventHubConsumerClient.from_connection_string(CONNECTION_STRING, "$Default")
    await client.receive(on_event=on_event, starting_position="-1", prefetch=PREFETCH)


threading.Thread(target=measure, daemon=True).start()
if MODE == "sync":
    read_sync()
else:
    asyncio.run(read_aio())
