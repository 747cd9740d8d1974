//! The SQL of the store.

use crate::schema::Schema;

/// Claims by version: locks the rows in the order of their partitions, one after another, so that two of these
/// statements never wait for each other in a circle. `SKIP LOCKED` would not help: the row of a claim that is about
/// to be rolled back would count as lost.
///
/// The join is on all columns of the key, and not on the parameters: with these, PostgreSQL takes the key for the
/// partition alone, and reads the table once for each claim.
const CLAIM_BY_VERSION: &str = r#"
UPDATE {schema}.ownership o
SET owner_id = l.owner_id, mark = l.mark, version = {next}, modified = clock_timestamp()
FROM (
  SELECT r.namespace, r.event_hub, r.consumer_group, r.partition_id, i.owner_id, i.mark
  FROM (
    SELECT * FROM unnest($4::text[], $5::text[], $6::text[], $7::bigint[]) AS t (partition_id, owner_id, mark, expected)
    ORDER BY partition_id COLLATE "C"
  ) i
  CROSS JOIN LATERAL (
    SELECT * FROM {schema}.ownership r
    WHERE r.namespace = $1 AND r.event_hub = $2 AND r.consumer_group = $3
      AND r.partition_id = i.partition_id AND r.version = i.expected
    FOR UPDATE
  ) r
) l
WHERE o.namespace = l.namespace AND o.event_hub = l.event_hub AND o.consumer_group = l.consumer_group
  AND o.partition_id = l.partition_id
RETURNING o.partition_id, o.version, o.modified"#;

/// Claims of absent records: a statement of its own, for one that did both deadlocked with others of its kind.
const CLAIM_ABSENT: &str = r#"
INSERT INTO {schema}.ownership AS o
  (namespace, event_hub, consumer_group, partition_id, owner_id, mark, version, modified)
SELECT $1, $2, $3, i.partition_id, i.owner_id, i.mark, {next}, clock_timestamp()
FROM (
  SELECT * FROM unnest($4::text[], $5::text[], $6::text[]) AS t (partition_id, owner_id, mark)
  ORDER BY partition_id COLLATE "C"
) i
ON CONFLICT DO NOTHING
RETURNING o.partition_id, o.version, o.modified"#;

/// One row with the time where there is no record. `clock_timestamp()`, for `now()` is when the transaction began,
/// and a claim that waited for a lock would look old.
const LIST_OWNERSHIP: &str = r"
SELECT t.now, o.partition_id, o.owner_id, o.mark, o.version, o.modified
FROM (SELECT clock_timestamp() AS now) t
LEFT JOIN {schema}.ownership o ON o.namespace = $1 AND o.event_hub = $2 AND o.consumer_group = $3
LIMIT $4";

const DELETE_OWNERSHIP: &str = r"
DELETE FROM {schema}.ownership
WHERE namespace = $1 AND event_hub = $2 AND consumer_group = $3 AND partition_id = $4 AND version = $5
RETURNING version";

/// A row without a position is no checkpoint yet.
const LIST_CHECKPOINTS: &str = r#"
SELECT partition_id, "offset", sequence_number, version FROM {schema}.checkpoint
WHERE namespace = $1 AND event_hub = $2 AND consumer_group = $3
  AND ("offset" IS NOT NULL OR sequence_number IS NOT NULL)
LIMIT $4"#;

const READ_CHECKPOINT: &str = r#"
SELECT partition_id, "offset", sequence_number, version FROM {schema}.checkpoint
WHERE namespace = $1 AND event_hub = $2 AND consumer_group = $3 AND partition_id = $4
  AND ("offset" IS NOT NULL OR sequence_number IS NOT NULL)"#;

const WRITE_BY_VERSION: &str = r#"
UPDATE {schema}.checkpoint
SET "offset" = $5, sequence_number = $6, version = {next}, modified = clock_timestamp()
WHERE namespace = $1 AND event_hub = $2 AND consumer_group = $3 AND partition_id = $4 AND version = $7
RETURNING version"#;

const WRITE_ABSENT: &str = r#"
INSERT INTO {schema}.checkpoint AS c
  (namespace, event_hub, consumer_group, partition_id, "offset", sequence_number, version, modified)
VALUES ($1, $2, $3, $4, $5, $6, {next}, clock_timestamp())
ON CONFLICT (namespace, event_hub, consumer_group, partition_id) DO UPDATE
SET "offset" = $5, sequence_number = $6, version = {next}, modified = clock_timestamp()
WHERE c."offset" IS NULL AND c.sequence_number IS NULL
RETURNING c.version"#;

const DELETE_CHECKPOINT: &str = r#"
DELETE FROM {schema}.checkpoint
WHERE namespace = $1 AND event_hub = $2 AND consumer_group = $3 AND partition_id = $4 AND version = $5
  AND ("offset" IS NOT NULL OR sequence_number IS NOT NULL)
RETURNING version"#;

/// The epoch is a number of the sequence too: counted in the row, it would begin again after a deletion, and an old
/// owner would pass for a new one. The number is drawn after the row is locked, so that it grows.
const FENCE: &str = r#"
INSERT INTO {schema}.checkpoint AS c
  (namespace, event_hub, consumer_group, partition_id, version, epoch, modified)
VALUES ($1, $2, $3, $4, {next}, {next}, clock_timestamp())
ON CONFLICT (namespace, event_hub, consumer_group, partition_id) DO UPDATE
SET epoch = {next}, version = {next}, modified = clock_timestamp()
RETURNING c.partition_id, c."offset", c.sequence_number, c.version, c.epoch"#;

const LIST_SCOPES: &str = r#"
SELECT namespace, event_hub, consumer_group FROM {schema}.ownership
UNION
SELECT namespace, event_hub, consumer_group FROM {schema}.checkpoint
WHERE "offset" IS NOT NULL OR sequence_number IS NOT NULL
LIMIT $1"#;

const WRITE_TRANSACTIONAL: &str = "SELECT {schema}.checkpoint($1, $2, $3, $4, $5, $6, $7)";

/// All statements, with the name of the schema in them.
#[derive(Debug)]
pub(crate) struct Statements {
    pub(crate) claim_by_version: String,
    pub(crate) claim_absent: String,
    pub(crate) list_ownership: String,
    pub(crate) delete_ownership: String,
    pub(crate) list_checkpoints: String,
    pub(crate) read_checkpoint: String,
    pub(crate) write_by_version: String,
    pub(crate) write_absent: String,
    pub(crate) delete_checkpoint: String,
    pub(crate) fence: String,
    pub(crate) list_scopes: String,
    pub(crate) write_transactional: String,
}

impl Statements {
    pub(crate) fn new(schema: &Schema) -> Self {
        Self {
            claim_by_version: schema.sql(CLAIM_BY_VERSION),
            claim_absent: schema.sql(CLAIM_ABSENT),
            list_ownership: schema.sql(LIST_OWNERSHIP),
            delete_ownership: schema.sql(DELETE_OWNERSHIP),
            list_checkpoints: schema.sql(LIST_CHECKPOINTS),
            read_checkpoint: schema.sql(READ_CHECKPOINT),
            write_by_version: schema.sql(WRITE_BY_VERSION),
            write_absent: schema.sql(WRITE_ABSENT),
            delete_checkpoint: schema.sql(DELETE_CHECKPOINT),
            fence: schema.sql(FENCE),
            list_scopes: schema.sql(LIST_SCOPES),
            write_transactional: schema.sql(WRITE_TRANSACTIONAL),
        }
    }
}
