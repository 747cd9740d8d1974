// Reads events with @azure/event-hubs and prints what it cost: receive.mjs js PORT PARTITIONS PREFETCH SECONDS.

import { createRequire } from "node:module";

// The package lies in cargo's target folder, not above this file.
const { EventHubConsumerClient, earliestEventPosition } = createRequire(process.env.EVENT_HUBS_PACKAGE)(
  "@azure/event-hubs",
);

const [, , , port, partitions, prefetch, seconds] = process.argv;
const connectionString =
  `Endpoint=sb://localhost:${port};SharedAccessKeyName=bench;SharedAccessKey=c2VjcmV0;` +
  "EntityPath=hub;UseDevelopmentEmulator=true";

let events = 0;
// What is measured begins when all partitions are attached.
const reading = new Set();
let all;
const started = new Promise((resolve) => (all = resolve));

function snapshot() {
  const usage = process.resourceUsage();
  return {
    events,
    nanos: Number(process.hrtime.bigint()),
    cpuNanos: (usage.userCPUTime + usage.systemCPUTime) * 1000,
    maxRss: usage.maxRSS,
  };
}

const pause = (millis) => new Promise((resolve) => setTimeout(resolve, millis));

const client = new EventHubConsumerClient("$Default", connectionString);
client.subscribe(
  {
    processEvents: async (batch, context) => {
      events += batch.length;
      if (batch.length > 0) reading.add(context.partitionId);
      if (reading.size === Number(partitions)) all();
    },
    processError: async (error) => {
      console.error(error);
      process.exit(1);
    },
  },
  {
    startPosition: earliestEventPosition,
    prefetchCount: Number(prefetch),
    maxBatchSize: 300,
    // Its default tries to parse each body as JSON, which would measure that.
    skipParsingBodyAsJson: true,
  },
);

const patience = setTimeout(() => (console.error(`events from ${reading.size} of ${partitions} partitions`), process.exit(1)), 120_000);
await started;
clearTimeout(patience);
await pause(seconds * 100);
const began = snapshot();
await pause(seconds * 1000);
const ended = snapshot();
const measured = {
  events: ended.events - began.events,
  nanos: ended.nanos - began.nanos,
  cpu_nanos: ended.cpuNanos - began.cpuNanos,
  allocations: null,
  max_rss_kib: ended.maxRss,
  p50_micros: null,
  p99_micros: null,
};
process.stdout.write(`${JSON.stringify(measured)}\n`, () => process.exit(0));
