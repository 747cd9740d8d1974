// Sends an event with each of these properties, where {"bytes": text} is a buffer: `traces.cjs CONNECTION_STRING HUB JSON`.
"use strict";

const { EventHubProducerClient } = require("@azure/event-hubs");

const decode = (_, value) => (typeof value?.bytes === "string" ? Buffer.from(value.bytes) : value);

async function main([connectionString, hub, cases]) {
  const client = new EventHubProducerClient(connectionString, hub);
  const events = JSON.parse(cases, decode).map((properties) => ({ body: "event", properties }));
  await client.sendBatch(events, { partitionId: "0" });
  await client.close();
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
