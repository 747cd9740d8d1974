// The witness of rhea, which knows AMQP and nothing of Event Hubs: `rhea.cjs CONNECTION_STRING`; see common.cjs.
"use strict";

const { createHmac } = require("node:crypto");
const rhea = require("rhea");
const { connectionString, say, describe, obey } = require("./common.cjs");

const { address, policy, key } = connectionString.match(
  /sb:\/\/(?<address>[^;/]+).*SharedAccessKeyName=(?<policy>[^;]+);SharedAccessKey=(?<key>[^;]+)/,
).groups;
const [host, port] = address.split(":");
const BATCH_FORMAT = 0x80013700;
const SELECTOR = "apache.org:selector-filter:string";
const RUNTIME_METRIC = "com.microsoft:enable-receiver-runtime-metric";

const readers = new Map();

function token(audience) {
  const resource = encodeURIComponent(audience);
  const expiry = Math.floor(Date.now() / 1000) + 3600;
  const signature = createHmac("sha256", key).update(`${resource}\n${expiry}`).digest("base64");
  return `SharedAccessSignature sr=${resource}&sig=${encodeURIComponent(signature)}&se=${expiry}&skn=${policy}`;
}

const ENDS = ["sender_close", "receiver_close", "session_close", "connection_close", "disconnected"];

/** The next event of this name; the end of anything on the connection is an error, as is what `errors` names. */
function next(connection, wanted, ...errors) {
  return new Promise((resolve, reject) => {
    const listeners = [wanted, ...ENDS, ...errors].map((name) => [name, (context) => settle(name, context)]);
    const settle = (name, context) => {
      for (const [name, listener] of listeners) connection.removeListener(name, listener);
      if (name === wanted) return resolve(context);
      const ended = [context, context.receiver, context.sender, context.session, context.connection];
      reject(ended.find((one) => one?.error)?.error ?? new Error(name));
    };
    for (const [name, listener] of listeners) connection.on(name, listener);
  });
}

/** A connection without any token. */
async function open(options = {}) {
  const connection = rhea.create_container().connect({ host, port: Number(port), username: "anyone", reconnect: false, ...options });
  connection.on("error", () => {});
  await next(connection, "connection_open");
  return connection;
}

/** A connection with a token for a hub. */
async function connect(hub, idleSeconds) {
  const connection = await open(idleSeconds ? { idle_time_out: idleSeconds * 1000 } : {});
  const audience = `sb://${host}/${hub}`;
  const application_properties = { operation: "put-token", type: "servicebus.windows.net:sastoken", name: audience };
  const { status } = await ask(connection, "$cbs", { application_properties, body: token(audience) });
  if (status >= 300) throw new Error(`put-token: ${status}`);
  return connection;
}

/** What a request node answers. */
async function ask(connection, node, request) {
  const receiver = connection.open_receiver({ source: node, target: "answers" });
  const sender = connection.open_sender(node);
  await next(connection, "sendable");
  sender.send({ message_id: "1", reply_to: "answers", ...request });
  const { message } = await next(connection, "message");
  return { status: message.application_properties["status-code"], body: message.body };
}

async function manage(hub, properties, connection) {
  connection ??= await connect(hub);
  const application_properties = { operation: "READ", name: hub, ...properties };
  const { status, body } = await ask(connection, "$management", { application_properties });
  connection.close();
  if (status >= 300) throw new Error(`READ: ${status}`);
  return body;
}

async function properties({ hub }) {
  const found = await manage(hub, { type: "com.microsoft:eventhub" });
  return { name: found.name, partitions: [...found.partition_ids] };
}

async function properties_by_request_token({ hub }) {
  const security_token = token(`sb://${host}/${hub}`);
  const found = await manage(hub, { type: "com.microsoft:eventhub", security_token }, await open());
  return { name: found.name, partitions: [...found.partition_ids] };
}

async function max_frame_size({ offered }) {
  const connection = await open({ max_frame_size: offered });
  connection.close();
  return connection.remote.open.max_frame_size;
}

/** The conditions of links to a group that is not there, all attached at once. */
async function refused_links({ hub, count }) {
  const connection = await connect(hub);
  const source = `${hub}/ConsumerGroups/nobody/Partitions/0`;
  const receivers = Array.from({ length: count }, () => connection.open_receiver({ source, credit_window: 10 }));
  // Without listeners rhea throws what a second detach makes of it.
  const refused = receivers.map((receiver) => new Promise((resolve, reject) => {
    receiver.once("receiver_error", () => resolve(receiver.error.condition));
    connection.once("protocol_error", reject);
    connection.once("disconnected", () => reject(new Error("disconnected")));
  }));
  const conditions = await Promise.all(refused);
  const closed = next(connection, "connection_close");
  connection.close();
  await closed.catch(() => {});
  return conditions;
}

async function partition({ hub, partition }) {
  const found = await manage(hub, { type: "com.microsoft:partition", partition });
  return {
    id: found.partition,
    beginning: found.begin_sequence_number,
    last: found.last_enqueued_sequence_number,
    offset: found.last_enqueued_offset,
    enqueued_ms: found.last_enqueued_time_utc.getTime(),
    empty: found.is_partition_empty,
  };
}

function toSections(body) {
  if (typeof body === "string") return rhea.message.data_section(Buffer.from(body));
  return body.sequence ? rhea.message.sequence_sections(body.sequence) : body.value;
}

function toMessage(body, message_id, key, properties) {
  const message_annotations = key && { "x-opt-partition-key": key };
  return { message_id, message_annotations, application_properties: properties, body: toSections(body) };
}

async function send({ hub, bodies, batch, partition, key, message_id, properties }) {
  const connection = await connect(hub);
  const sender = connection.open_sender(partition ? `${hub}/Partitions/${partition}` : hub);
  await next(connection, "sendable");
  const messages = bodies.map((body) => toMessage(body, message_id, key, properties));
  if (batch) {
    const encoded = messages.map((message) => rhea.message.encode(message));
    const accepted = next(connection, "accepted", "rejected");
    sender.send(rhea.message.encode({ body: rhea.message.data_sections(encoded) }), undefined, BATCH_FORMAT);
    await accepted;
  } else {
    for (const message of messages) {
      const accepted = next(connection, "accepted", "rejected");
      sender.send(message);
      await accepted;
    }
  }
  connection.close();
}

function send_of_any_size({ hub, body, partition }) {
  return send({ hub, bodies: [body], partition });
}

function selector({ latest, offset, sequence_number, enqueued_ms, inclusive }) {
  const name = sequence_number !== undefined ? "sequence-number" : enqueued_ms !== undefined ? "enqueued-time" : "offset";
  const value = sequence_number ?? enqueued_ms ?? offset ?? (latest ? "@latest" : "-1");
  return `amqp.annotation.x-opt-${name} >${inclusive ? "=" : ""} '${value}'`;
}

function toText(body) {
  if (body?.typecode === 0x75) return body.content.toString();
  if (body?.typecode === 0x76) return { sequence: body.multiple ? body.content : [body.content] };
  return { value: body };
}

function fromMessage(message) {
  const annotations = message.message_annotations;
  const last = message.delivery_annotations;
  return {
    body: toText(message.body),
    sequence_number: annotations["x-opt-sequence-number"],
    offset: annotations["x-opt-offset"],
    enqueued_ms: annotations["x-opt-enqueued-time"].getTime(),
    key: annotations["x-opt-partition-key"],
    message_id: message.message_id,
    properties: message.application_properties,
    last_enqueued: last?.last_enqueued_offset && {
      sequence_number: last.last_enqueued_sequence_number,
      offset: last.last_enqueued_offset,
      enqueued_ms: last.last_enqueued_time_utc.getTime(),
      retrieved_ms: last.runtime_info_retrieval_time_utc.getTime(),
    },
  };
}

/** Reads, and starts over behind the last event when whatever ends; a library of AMQP leaves that to its user. */
async function follow(reading) {
  while (!reading.stopped) {
    try {
      await attach(reading);
    } catch (error) {
      say({ reader: reading.reader, error: describe(error) });
    }
    reading.connection?.close();
    if (!reading.retry) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** Reads until something ends, which is an error. */
async function attach(reading) {
  const { reader, hub, partition, group, start, owner_level, last_enqueued, idle_seconds } = reading;
  reading.connection = await connect(hub, idle_seconds);
  const receiver = reading.connection.open_receiver({
    source: {
      address: `${hub}/ConsumerGroups/${group}/Partitions/${partition}`,
      filter: { [SELECTOR]: rhea.types.wrap_described(selector(start), SELECTOR) },
    },
    properties: owner_level === null ? {} : { "com.microsoft:epoch": rhea.types.wrap_long(owner_level) },
    desired_capabilities: last_enqueued ? [RUNTIME_METRIC] : undefined,
    credit_window: 100,
  });
  receiver.on("message", ({ message }) => {
    const event = fromMessage(message);
    reading.start = { offset: event.offset };
    say({ reader, event });
  });
  await next(reading.connection, "never");
}

async function read(request) {
  const reading = { ...request, stopped: false };
  readers.set(request.reader, reading);
  follow(reading);
}

async function stop({ reader }) {
  const reading = readers.get(reader);
  reading.stopped = true;
  reading.connection?.close();
}

obey({ properties, properties_by_request_token, max_frame_size, refused_links, partition, send, send_of_any_size, read, stop });
