//! Checkpoints: reading, compare-and-swap, and the fence at the beginning of an ownership.

use std::time::Duration;

use eventhubs_checkpoint_store::{
    Checkpoint, Error, ErrorKind, Expected, FenceToken, Fenced, Result, Version,
};
use eventhubs_types::{ConsumerScope, Offset, PartitionId, SequenceNumber};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};

use crate::call::{Failure, Parameters};
use crate::records::{ScopeKey, Wanted, check, checkpoint, text, version};
use crate::store::{MAX_LISTED, PostgresCheckpointStore};

/// How long the first attempt to write a checkpoint waits for a transaction that has locked it. Each attempt waits
/// twice as long as the one before.
const FIRST_LOCK_LIMIT: Duration = Duration::from_millis(50);

/// The longest that an attempt waits, and with it all other checkpoints of this store.
const MAX_LOCK_LIMIT: Duration = Duration::from_secs(1);

impl PostgresCheckpointStore {
    pub(crate) async fn read_checkpoint(
        &self,
        scope: &ConsumerScope,
        partition: &PartitionId,
    ) -> Result<Option<Checkpoint>> {
        let key = ScopeKey::new(scope);
        let ([namespace, hub, group], partition) = (&key.texts(), &partition.as_str());
        let parameters = [text(namespace), text(hub), text(group), text(partition)];
        let rows = self.call().await?.run(&self.inner().statements.read_checkpoint, &parameters).await;
        Ok(all(rows, "read a checkpoint")?.pop())
    }

    pub(crate) async fn all_checkpoints(&self, scope: &ConsumerScope) -> Result<Vec<Checkpoint>> {
        const WHAT: &str = "list the checkpoints";
        let key = ScopeKey::new(scope);
        let [namespace, hub, group] = &key.texts();
        let limit = i64::try_from(MAX_LISTED + 1).unwrap_or(i64::MAX);
        let parameters =
            [text(namespace), text(hub), text(group), (&limit as &(dyn ToSql + Sync), Type::INT8)];
        let rows = self.call().await?.run(&self.inner().statements.list_checkpoints, &parameters).await;
        let found = all(rows, WHAT)?;
        if found.len() > MAX_LISTED {
            return Err(Error::new(ErrorKind::Protocol, format!("{WHAT}: there are more than {MAX_LISTED}")));
        }
        Ok(found)
    }

    /// Compares and swaps; `None` if the record is not as expected.
    pub(crate) async fn write_over(
        &self,
        scope: &ConsumerScope,
        checkpoint: &Checkpoint,
        expected: &Expected,
    ) -> Result<Option<Version>> {
        const WHAT: &str = "write a checkpoint";
        let offset = checkpoint.offset.as_ref().map(Offset::as_str);
        let number = checkpoint.sequence_number.map(SequenceNumber::value);
        if offset.is_none() && number.is_none() {
            let text = "checkpoint: has neither an offset nor a sequence number";
            return Err(Error::new(ErrorKind::InvalidArgument, text));
        }
        check("offset", offset)?;
        let wanted = Wanted::from(expected);
        let key = ScopeKey::new(scope);
        let ([namespace, hub, group], partition) = (&key.texts(), &checkpoint.partition.as_str());
        let mut parameters = vec![text(namespace), text(hub), text(group), text(partition)];
        parameters.extend([
            (&offset as &(dyn ToSql + Sync), Type::TEXT),
            (&number as &(dyn ToSql + Sync), Type::INT8),
        ]);
        let statements = &self.inner().statements;
        let sql = match &wanted {
            Wanted::Impossible => return Ok(None),
            Wanted::Absent => &statements.write_absent,
            Wanted::Number(number) => {
                parameters.push((number, Type::INT8));
                &statements.write_by_version
            }
        };
        let rows = self.write(sql, &parameters, WHAT).await?;
        let written = rows.first().map(|row| row.try_get(0)).transpose();
        Ok(written.map_err(|error| Failure::from(error).during(WHAT))?.map(version))
    }

    /// Returns what is final for all earlier owners: the statement waits for a transaction that has written the
    /// checkpoint and is open, and every later one of theirs finds another epoch.
    pub(crate) async fn begin_ownership(
        &self,
        scope: &ConsumerScope,
        partition: &PartitionId,
    ) -> Result<Fenced> {
        const WHAT: &str = "begin an ownership";
        let key = ScopeKey::new(scope);
        let ([namespace, hub, group], partition) = (&key.texts(), &partition.as_str());
        let parameters = [text(namespace), text(hub), text(group), text(partition)];
        let rows = self.write(&self.inner().statements.fence, &parameters, WHAT).await?;
        let row = rows.first().ok_or_else(|| Error::new(ErrorKind::Protocol, WHAT))?;
        fenced(row).map_err(|error| Failure::from(error).during(WHAT))
    }

    /// Executes a statement that may have to wait for a transaction of the application.
    ///
    /// It waits for a short while only, and lets others use the connection before it tries again.
    async fn write(&self, sql: &str, parameters: Parameters<'_>, what: &'static str) -> Result<Vec<Row>> {
        self.prepare().await?;
        let deadline = Instant::now() + self.inner().database.call_timeout();
        let mut limit = FIRST_LOCK_LIMIT;
        loop {
            match self.try_write(deadline, limit, sql, parameters).await? {
                Err(failure)
                    if failure.is(&SqlState::LOCK_NOT_AVAILABLE) && Instant::now() + limit < deadline =>
                {
                    sleep(limit).await;
                }
                outcome => return outcome.map_err(|failure| failure.during(what)),
            }
            limit = (limit * 2).min(MAX_LOCK_LIMIT);
        }
    }

    async fn try_write(
        &self,
        deadline: Instant,
        limit: Duration,
        sql: &str,
        parameters: Parameters<'_>,
    ) -> Result<std::result::Result<Vec<Row>, Failure>> {
        let turn = timeout_at(deadline, self.inner().checkpoint_writes.acquire()).await;
        let Ok(_turn) = turn else { return Ok(Err(Failure::Timeout)) };
        let call = self.inner().database.call_until(deadline).await?;
        let limit = limit.min(deadline.duration_since(Instant::now()));
        Ok(call.run_with_lock_limit(limit, sql, parameters).await)
    }
}

fn all(rows: std::result::Result<Vec<Row>, Failure>, what: &'static str) -> Result<Vec<Checkpoint>> {
    let read = |rows: Vec<Row>| -> std::result::Result<Vec<_>, Failure> {
        let read: std::result::Result<Vec<_>, _> = rows.iter().map(checkpoint).collect();
        Ok(read?.into_iter().flatten().collect())
    };
    rows.and_then(read).map_err(|failure| failure.during(what))
}

fn fenced(row: &Row) -> std::result::Result<Fenced, tokio_postgres::Error> {
    let checkpoint = checkpoint(row)?;
    let checkpoint = checkpoint.filter(|found| found.offset.is_some() || found.sequence_number.is_some());
    Ok(Fenced::new(checkpoint, Some(FenceToken::new(row.try_get(4)?))))
}
