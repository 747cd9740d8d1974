-- Version 1 of the schema. Once released, a file in this folder never changes: a later version is another file.

CREATE TABLE eventhubs_schema (
  version INTEGER NOT NULL PRIMARY KEY,
  applied INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The last version that was given to a record. It only grows, so a version never returns, not even that of a deleted record.
CREATE TABLE eventhubs_counter (
  id    INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  value INTEGER NOT NULL
) STRICT;
INSERT INTO eventhubs_counter (id, value) VALUES (1, 0);

CREATE TABLE eventhubs_ownership (
  namespace      TEXT NOT NULL,
  event_hub      TEXT NOT NULL,
  consumer_group TEXT NOT NULL,
  partition_id   TEXT NOT NULL,
  owner_id       TEXT,                     -- NULL: released
  mark           TEXT CHECK (length(CAST(mark AS BLOB)) <= 4096),
  version        INTEGER NOT NULL,
  modified       INTEGER NOT NULL,         -- milliseconds since 1970
  PRIMARY KEY (namespace, event_hub, consumer_group, partition_id)
) STRICT, WITHOUT ROWID;

-- A row with neither offset nor sequence number is no checkpoint: it only keeps the epoch.
CREATE TABLE eventhubs_checkpoint (
  namespace       TEXT NOT NULL,
  event_hub       TEXT NOT NULL,
  consumer_group  TEXT NOT NULL,
  partition_id    TEXT NOT NULL,
  "offset"        TEXT CHECK (length(CAST("offset" AS BLOB)) <= 4096),
  sequence_number INTEGER,
  epoch           INTEGER NOT NULL DEFAULT 0,
  version         INTEGER NOT NULL,
  modified        INTEGER NOT NULL,        -- milliseconds since 1970
  PRIMARY KEY (namespace, event_hub, consumer_group, partition_id)
) STRICT, WITHOUT ROWID;

-- The last claims that announce themselves.
CREATE TABLE eventhubs_hint (
  version        INTEGER NOT NULL PRIMARY KEY,  -- of the ownership record
  namespace      TEXT NOT NULL,
  event_hub      TEXT NOT NULL,
  consumer_group TEXT NOT NULL,
  partition_id   TEXT NOT NULL,
  owner_id       TEXT,                     -- whom it is for; NULL: everyone
  written        INTEGER NOT NULL          -- milliseconds since 1970
) STRICT;

-- What a transaction of the application inserts into. A view and not an UPDATE of the table, since an UPDATE that finds
-- no row succeeds, and whoever does not count rows then commits without a checkpoint.
CREATE VIEW eventhubs_transactional_checkpoint AS
  SELECT namespace, event_hub, consumer_group, partition_id, epoch, "offset", sequence_number
  FROM eventhubs_checkpoint;

CREATE TRIGGER eventhubs_transactional_checkpoint_insert INSTEAD OF INSERT ON eventhubs_transactional_checkpoint
BEGIN
  SELECT RAISE(ABORT, 'eventhubs: fenced') WHERE NOT EXISTS (
    SELECT 1 FROM eventhubs_checkpoint AS c
    WHERE c.namespace = NEW.namespace AND c.event_hub = NEW.event_hub AND c.consumer_group = NEW.consumer_group
      AND c.partition_id = NEW.partition_id AND c.epoch = NEW.epoch);
  SELECT RAISE(ABORT, 'eventhubs: already done') WHERE EXISTS (
    SELECT 1 FROM eventhubs_checkpoint AS c
    WHERE c.namespace = NEW.namespace AND c.event_hub = NEW.event_hub AND c.consumer_group = NEW.consumer_group
      AND c.partition_id = NEW.partition_id AND c.sequence_number >= NEW.sequence_number);
  UPDATE eventhubs_counter SET value = value + 1;
  -- julianday, for unixepoch('subsec') is NULL before SQLite 3.42, which the application may write with.
  UPDATE eventhubs_checkpoint SET
    "offset" = NEW."offset", sequence_number = NEW.sequence_number,
    version = (SELECT value FROM eventhubs_counter),
    modified = CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER)
  WHERE namespace = NEW.namespace AND event_hub = NEW.event_hub AND consumer_group = NEW.consumer_group
    AND partition_id = NEW.partition_id;
END;
