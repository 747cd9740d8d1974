"""Azure's checkpoint store for Python beside ours on the same container: `blob_store.py {sync,aio} {first,second} CONNECTION CONTAINER`.

First it writes what ours is to read; then it reads, and takes over, what ours wrote.
"""
import asyncio
import inspect
import sys

SCOPE = ("MyNamespace.servicebus.windows.net", "MyHub", "$Default")
KEYS = ("fully_qualified_namespace", "eventhub_name", "consumer_group")


class Store:
    """The one or the other class, both awaited."""

    def __init__(self, kind, connection, container):
        if kind == "aio":
            from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore
        else:
            from azure.eventhub.extensions.checkpointstoreblob import BlobCheckpointStore
        self.inner = BlobCheckpointStore.from_connection_string(connection, container)

    async def call(self, name, *arguments):
        result = getattr(self.inner, name)(*arguments)
        return await result if inspect.isawaitable(result) else result

    async def owners(self):
        return {one["partition_id"]: one for one in await self.call("list_ownership", *SCOPE)}

    async def claim(self, partition, owner, etag=None):
        """The record that was won, or None."""
        record = dict(zip(KEYS, SCOPE), partition_id=partition, owner_id=owner, etag=etag, last_modified_time=None)
        won = list(await self.call("claim_ownership", [record]))
        return won[0] if won else None

    async def checkpoints(self):
        listed = await self.call("list_checkpoints", *SCOPE)
        return {one["partition_id"]: (one["offset"], one["sequence_number"]) for one in listed}

    async def checkpoint(self, partition, offset, number):
        record = dict(zip(KEYS, SCOPE), partition_id=partition, offset=offset, sequence_number=number)
        await self.call("update_checkpoint", record)

    async def close(self):
        if hasattr(self.inner, "close"):
            await self.call("close")


async def first(store):
    assert await store.claim("0", "Python-A")
    renewed = await store.claim("1", "Python-A")
    assert await store.claim("1", "Python-A", renewed["etag"])
    released = await store.claim("2", "Python-A")
    assert await store.claim("2", "", released["etag"])
    await store.checkpoint("0", "100", 7)
    await store.checkpoint("1", None, 8)


async def second(store):
    # No claim without an etag here: Azurite ignores the condition that Python puts on it, so it would win.
    owners = await store.owners()
    named = {partition: record["owner_id"] or "" for partition, record in owners.items()}
    assert named == {"0": "rust", "1": "Python-A", "2": "rust", "3": "", "4": "rust"}, named
    taken = await store.claim("3", "Python-B", owners["3"]["etag"])
    assert taken, "a release by ours is free to take"
    assert await store.claim("3", "Python-C", owners["3"]["etag"]) is None, "an old etag loses"
    assert await store.claim("4", "Python-B", owners["4"]["etag"]), "what ours owns can be stolen"
    checkpoints = await store.checkpoints()
    assert checkpoints["0"] == ("200", 17), checkpoints
    assert checkpoints["2"] == ("300", 27), checkpoints
    assert checkpoints["3"] == ("None", 37), "Python makes a text of what is missing"
    await store.checkpoint("2", "400", 47)


async def main(kind, part, connection, container):
    store = Store(kind, connection, container)
    try:
        await {"first": first, "second": second}[part](store)
    finally:
        await store.close()


asyncio.run(main(*sys.argv[1:]))
