// Sends what other languages seldom do: `odd_bodies.cjs CONNECTION_STRING HUB`.
"use strict";

const { EventHubProducerClient } = require("@azure/event-hubs");

async function main([connectionString, hub]) {
  const client = new EventHubProducerClient(connectionString, hub);
  const properties = { kind: "tombstone" };
  const bodies = [null, undefined, "", 0, false, Buffer.alloc(0)];
  await client.sendBatch(bodies.map((body) => ({ body, properties })), { partitionId: "0" });
  await client.close();
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
