-- Version 1 of the dead letters. Once released, a file in this folder never changes: a later version is another file.

CREATE TABLE eventhubs_dead_letter_schema (
  version INTEGER NOT NULL PRIMARY KEY,
  applied INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The time is a part of the key, since the numbers of an event hub that was created again begin again.
CREATE TABLE eventhubs_dead_letter (
  namespace       TEXT NOT NULL,
  event_hub       TEXT NOT NULL,
  consumer_group  TEXT NOT NULL,
  partition_id    TEXT NOT NULL,
  sequence_number INTEGER NOT NULL,
  enqueued        INTEGER NOT NULL,        -- milliseconds since 1970; 0: the service did not say
  "offset"        TEXT NOT NULL,
  owner_id        TEXT NOT NULL,
  reason          TEXT NOT NULL,
  description     TEXT NOT NULL,
  attempts        INTEGER NOT NULL,
  first_failed    INTEGER NOT NULL,        -- milliseconds since 1970
  event           TEXT NOT NULL,           -- JSON
  message         BLOB,                    -- the AMQP message; NULL: it was not received
  modified        INTEGER NOT NULL,        -- milliseconds since 1970
  PRIMARY KEY (namespace, event_hub, consumer_group, partition_id, sequence_number, enqueued)
) STRICT;
