// The witness of Azure's JavaScript SDK: `sdk.cjs CONNECTION_STRING [--websocket]`; see common.cjs.
"use strict";

const {
  EventHubConsumerClient,
  EventHubProducerClient,
  earliestEventPosition,
  latestEventPosition,
} = require("@azure/event-hubs");
const WebSocket = require("ws");
const { connectionString, options, say, describe, obey } = require("./common.cjs");

const GROUP = "$Default";
const transport = options.includes("--websocket") ? { webSocketOptions: { webSocket: WebSocket } } : {};

const readers = new Map();

function consumer(hub, group = GROUP, extra = {}) {
  return new EventHubConsumerClient(group, connectionString, hub, { ...transport, ...extra });
}

async function using(client, use) {
  try {
    return await use(client);
  } finally {
    await client.close();
  }
}

function properties({ hub }) {
  return using(consumer(hub), async (client) => {
    const { name, partitionIds } = await client.getEventHubProperties();
    return { name, partitions: partitionIds };
  });
}

function partition({ hub, partition }) {
  return using(consumer(hub), async (client) => {
    const found = await client.getPartitionProperties(partition);
    return {
      id: found.partitionId,
      beginning: found.beginningSequenceNumber,
      last: found.lastEnqueuedSequenceNumber,
      offset: found.lastEnqueuedOffset,
      enqueued_ms: found.isEmpty ? null : found.lastEnqueuedOnUtc.getTime(),
      empty: found.isEmpty,
    };
  });
}

function toEvent(body, messageId, properties) {
  if (typeof body === "string") return { body: Buffer.from(body), messageId, properties };
  const [[bodyType, value]] = Object.entries(body);
  return { body: value, bodyType };
}

function send({ hub, bodies, batch, partition, key, message_id, properties }) {
  const to = { partitionId: partition, partitionKey: key };
  const events = bodies.map((body) => toEvent(body, message_id, properties));
  return using(new EventHubProducerClient(connectionString, hub, transport), async (client) => {
    if (!batch) {
      for (const event of events) await client.sendBatch([event], to);
      return;
    }
    const whole = await client.createBatch(to);
    for (const event of events) {
      if (!whole.tryAdd(event)) throw new Error("the batch is full");
    }
    await client.sendBatch(whole);
  });
}

function position({ earliest, latest, offset, sequence_number, enqueued_ms, inclusive }) {
  if (earliest) return earliestEventPosition;
  if (latest) return latestEventPosition;
  if (enqueued_ms !== undefined) return { enqueuedOn: enqueued_ms };
  return { offset, sequenceNumber: sequence_number, isInclusive: inclusive };
}

function fromEvent(event, context) {
  const last = context.lastEnqueuedEventProperties;
  const { bodyType } = event.getRawAmqpMessage();
  return {
    partition: context.partitionId,
    body: bodyType === "data" ? event.body.toString() : { [bodyType]: event.body },
    sequence_number: event.sequenceNumber,
    offset: event.offset,
    enqueued_ms: event.enqueuedTimeUtc.getTime(),
    key: event.partitionKey,
    message_id: event.messageId,
    properties: event.properties,
    last_enqueued: last && {
      sequence_number: last.sequenceNumber,
      offset: last.offset,
      enqueued_ms: last.enqueuedOn.getTime(),
      retrieved_ms: last.retrievedOn.getTime(),
    },
  };
}

/** What a subscription tells us; `first` is done with each event before. */
function handlers(reader, first = async () => {}) {
  return {
    processEvents: async (events, context) => {
      for (const event of events) {
        await first(event, context);
        say({ reader, event: fromEvent(event, context) });
      }
    },
    processError: async (error) => say({ reader, error: describe(error) }),
  };
}

async function read({ reader, hub, partition, group, start, owner_level, last_enqueued, retry }) {
  // it would wait for 30 seconds by default
  const client = consumer(hub, group, { retryOptions: { retryDelayInMs: 500, maxRetries: retry ? 3 : 0 } });
  client.subscribe(partition, handlers(reader), {
    startPosition: position(start),
    ownerLevel: owner_level ?? undefined,
    trackLastEnqueuedEventProperties: last_enqueued,
    skipParsingBodyAsJson: true,
    maxWaitTimeInSeconds: 1,
  });
  readers.set(reader, client);
}

/** The checkpoint store that the processors of this process share. */
const store = {
  owners: new Map(),
  checkpoints: new Map(),
  versions: 0,
  key: (record) => `${record.eventHubName} ${record.partitionId}`,
  of: (records, hub) => [...records.values()].filter((record) => record.eventHubName === hub),
  async listOwnership(_namespace, hub) {
    return this.of(this.owners, hub);
  },
  async listCheckpoints(_namespace, hub) {
    return this.of(this.checkpoints, hub);
  },
  async updateCheckpoint(checkpoint) {
    this.checkpoints.set(this.key(checkpoint), checkpoint);
  },
  async claimOwnership(records) {
    const free = records.filter((record) => this.owners.get(this.key(record))?.etag === record.etag);
    return free.map((record) => {
      const claimed = { ...record, etag: String((this.versions += 1)), lastModifiedTimeInMs: Date.now() };
      this.owners.set(this.key(record), claimed);
      return claimed;
    });
  },
};

async function handle({ reader, hub }) {
  const client = new EventHubConsumerClient(GROUP, connectionString, hub, store, {
    ...transport,
    loadBalancingOptions: {
      strategy: "greedy",
      updateIntervalInMs: 1000,
      partitionOwnershipExpirationIntervalInMs: 10_000,
    },
  });
  const checkpoint = (event, context) => context.updateCheckpoint(event);
  client.subscribe(handlers(reader, checkpoint), { startPosition: earliestEventPosition, skipParsingBodyAsJson: true });
  readers.set(reader, client);
}

async function stop({ reader }) {
  await readers.get(reader).close();
  readers.delete(reader);
}

obey({ properties, partition, send, read, process: handle, stop });
