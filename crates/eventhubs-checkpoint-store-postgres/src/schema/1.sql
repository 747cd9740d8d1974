DO $eventhubs$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = {schema_name}) THEN
    CREATE SCHEMA {schema};
  END IF;
END $eventhubs$;

CREATE TABLE IF NOT EXISTS {schema}.migration (
  version integer PRIMARY KEY,
  applied timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Never repeats, also after a record was deleted. A version is a number of it and 20 random bits.
CREATE SEQUENCE {schema}.version MAXVALUE 8796093022207;

-- Fill factor 70: a renewal writes the new row next to the old one, and the index stays as it is.
CREATE TABLE {schema}.ownership (
  namespace text COLLATE "C" NOT NULL,
  event_hub text COLLATE "C" NOT NULL,
  consumer_group text COLLATE "C" NOT NULL,
  partition_id text COLLATE "C" NOT NULL,
  owner_id text,
  mark text,
  version bigint NOT NULL,
  modified timestamptz NOT NULL,
  PRIMARY KEY (namespace, event_hub, consumer_group, partition_id)
) WITH (fillfactor = 70);

-- A table of its own: a renewal must not wait for a transaction that has written a checkpoint. A row without a
-- position holds the epoch of an ownership that has no checkpoint yet.
CREATE TABLE {schema}.checkpoint (
  namespace text COLLATE "C" NOT NULL,
  event_hub text COLLATE "C" NOT NULL,
  consumer_group text COLLATE "C" NOT NULL,
  partition_id text COLLATE "C" NOT NULL,
  "offset" text,
  sequence_number bigint,
  version bigint NOT NULL,
  epoch bigint NOT NULL DEFAULT 0,
  modified timestamptz NOT NULL,
  PRIMARY KEY (namespace, event_hub, consumer_group, partition_id)
) WITH (fillfactor = 70);

-- Writes a checkpoint in the transaction of the caller. ZE001: a later owner has begun, or the record was deleted.
-- ZE002: the event is done already. The row stays locked until that transaction ends.
CREATE FUNCTION {schema}.checkpoint(
  ns text, hub text, grp text, part text, epoch bigint, "offset" text, seq bigint
) RETURNS void LANGUAGE plpgsql AS $eventhubs$
#variable_conflict use_column
DECLARE
  current_epoch bigint;
BEGIN
  UPDATE {schema}.checkpoint c
    SET "offset" = $6, sequence_number = $7, version = {next}, modified = clock_timestamp()
    WHERE c.namespace = $1 AND c.event_hub = $2 AND c.consumer_group = $3 AND c.partition_id = $4
      AND c.epoch = $5 AND (c.sequence_number IS NULL OR c.sequence_number < $7);
  IF FOUND THEN
    RETURN;
  END IF;
  SELECT c.epoch INTO current_epoch FROM {schema}.checkpoint c
    WHERE c.namespace = $1 AND c.event_hub = $2 AND c.consumer_group = $3 AND c.partition_id = $4;
  IF current_epoch = $5 THEN
    RAISE EXCEPTION 'eventhubs: already done: partition % at sequence number %', $4, $7 USING ERRCODE = 'ZE002';
  END IF;
  RAISE EXCEPTION 'eventhubs: fenced: partition % has a later owner', $4 USING ERRCODE = 'ZE001';
END $eventhubs$;
