CREATE TABLE IF NOT EXISTS {schema}.dead_letter_migration (
  version integer PRIMARY KEY,
  applied timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The time is a part of the key, since the numbers of an event hub that was created again begin again. 1970 where the
-- service did not say. A message is NULL where the event was not received.
CREATE TABLE {schema}.dead_letter (
  namespace text COLLATE "C" NOT NULL,
  event_hub text COLLATE "C" NOT NULL,
  consumer_group text COLLATE "C" NOT NULL,
  partition_id text COLLATE "C" NOT NULL,
  sequence_number bigint NOT NULL,
  enqueued timestamptz NOT NULL,
  "offset" text NOT NULL,
  owner_id text NOT NULL,
  reason text NOT NULL,
  description text NOT NULL,
  attempts bigint NOT NULL,
  first_failed timestamptz NOT NULL,
  event json NOT NULL,
  message bytea,
  modified timestamptz NOT NULL,
  PRIMARY KEY (namespace, event_hub, consumer_group, partition_id, sequence_number, enqueued)
);
