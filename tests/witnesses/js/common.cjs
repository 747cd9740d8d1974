// What the witnesses in JavaScript share: one request a line comes in, and what there is to say goes out as lines of JSON.
"use strict";

const readline = require("node:readline");

const [, , connectionString, ...options] = process.argv;

function say(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function describe(error) {
  return `${error.code ?? error.condition ?? error.name}: ${error.message ?? error.description}`;
}

/** Does what is asked, until nobody asks any more; each method of the witness is a request. */
async function obey(witness) {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { id, do: what, ...request } = JSON.parse(line);
    if (!witness[what]) {
      say({ id, absent: what });
      continue;
    }
    try {
      say({ id, ok: (await witness[what](request)) ?? null });
    } catch (error) {
      say(error.absent ? { id, absent: error.absent } : { id, error: describe(error) });
    }
  }
  process.exit(0);
}

module.exports = { connectionString, options, say, describe, obey };
