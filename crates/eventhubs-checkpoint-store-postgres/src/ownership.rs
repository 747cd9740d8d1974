//! Ownership records: the listing, and claims, any number of them in one round trip.

use std::collections::HashMap;
use std::time::SystemTime;

use eventhubs_checkpoint_store::{
    Claim, ClaimOutcome, Error, Mark, Ownership, OwnershipList, RejectedRecord, Result,
};
use eventhubs_types::{ConsumerScope, OwnerId, PartitionId};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::call::{Call, Failure};
use crate::records::{ScopeKey, Wanted, check, text, version};
use crate::store::{MAX_LISTED, PostgresCheckpointStore};
use crate::watch;

/// The longest name of a record that is reported, in characters.
const MAX_REPORTED: usize = 256;

type DriverResult<T> = std::result::Result<T, tokio_postgres::Error>;

/// The new versions and times of the records that were written, by partition.
type Written = HashMap<String, (i64, SystemTime)>;

/// The columns of claims that go into one statement.
#[derive(Default)]
struct Columns<'a> {
    partitions: Vec<&'a str>,
    owners: Vec<Option<&'a str>>,
    marks: Vec<Option<&'a str>>,
    expected: Vec<i64>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, claim: &'a Claim, expected: Option<i64>) {
        self.partitions.push(claim.partition.as_str());
        self.owners.push(claim.owner.as_ref().map(OwnerId::as_str));
        self.marks.push(claim.mark.as_ref().map(Mark::as_str));
        self.expected.extend(expected);
    }

    /// Executes the statement for them; `None` if there are none.
    async fn run(
        &self,
        call: &Call,
        sql: &str,
        key: &ScopeKey,
    ) -> Option<std::result::Result<Written, Failure>> {
        if self.partitions.is_empty() {
            return None;
        }
        let [namespace, hub, group] = &key.texts();
        let mut parameters: Vec<(&(dyn ToSql + Sync), Type)> = vec![
            text(namespace),
            text(hub),
            text(group),
            (&self.partitions, Type::TEXT_ARRAY),
            (&self.owners, Type::TEXT_ARRAY),
            (&self.marks, Type::TEXT_ARRAY),
        ];
        if !self.expected.is_empty() {
            parameters.push((&self.expected, Type::INT8_ARRAY));
        }
        let rows = call.run(sql, &parameters).await;
        Some(rows.and_then(|rows| Ok(rows.iter().map(written).collect::<DriverResult<_>>()?)))
    }
}

fn written(row: &Row) -> DriverResult<(String, (i64, SystemTime))> {
    Ok((row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?)))
}

/// Where the outcome of a claim comes from.
enum Way {
    Absent,
    ByVersion,
    Refused(Error),
    Lost,
}

fn way<'a>(claim: &'a Claim, absent: &mut Columns<'a>, by_version: &mut Columns<'a>) -> Way {
    if let Err(error) = check("mark", claim.mark.as_ref().map(Mark::as_str)) {
        return Way::Refused(error);
    }
    match Wanted::from(&claim.expected) {
        Wanted::Impossible => Way::Lost,
        Wanted::Absent => {
            absent.push(claim, None);
            Way::Absent
        }
        Wanted::Number(expected) => {
            by_version.push(claim, Some(expected));
            Way::ByVersion
        }
    }
}

/// The outcome of a claim by what its statement has written; `None` there if no statement was sent.
fn outcome(claim: &Claim, written: Option<&std::result::Result<Written, Error>>) -> ClaimOutcome {
    match written {
        Some(Ok(written)) => match written.get(claim.partition.as_str()) {
            Some(&(number, modified)) => ClaimOutcome::Won(
                Ownership::new(claim.partition.clone(), claim.owner.clone(), version(number), Some(modified))
                    .with_mark(claim.mark.clone()),
            ),
            None => ClaimOutcome::Lost,
        },
        Some(Err(error)) => ClaimOutcome::Failed(same(error)),
        None => ClaimOutcome::Lost,
    }
}

/// The error once more, for another claim of the same statement: the sources of an error cannot be cloned.
fn same(error: &Error) -> Error {
    Error::new(error.kind(), "claim partitions").with_source(error.to_string())
}

fn failed(failure: Failure) -> Error {
    failure.during("claim partitions")
}

impl PostgresCheckpointStore {
    pub(crate) async fn claims(&self, scope: &ConsumerScope, claims: &[Claim]) -> Vec<ClaimOutcome> {
        let (mut absent, mut by_version) = (Columns::default(), Columns::default());
        let ways: Vec<_> = claims.iter().map(|claim| way(claim, &mut absent, &mut by_version)).collect();
        let (absent, by_version) = self.send(scope, &absent, &by_version).await;
        let outcomes: Vec<_> = claims
            .iter()
            .zip(ways)
            .map(|(claim, way)| match way {
                Way::Absent => outcome(claim, absent.as_ref()),
                Way::ByVersion => outcome(claim, by_version.as_ref()),
                Way::Refused(error) => ClaimOutcome::Failed(error),
                Way::Lost => ClaimOutcome::Lost,
            })
            .collect();
        self.announce(scope, claims, &outcomes);
        outcomes
    }

    /// Both statements are on their way before either is answered. They are two transactions: what one of them waits
    /// for, or fails by, is nothing to the other.
    async fn send(
        &self,
        scope: &ConsumerScope,
        absent: &Columns<'_>,
        by_version: &Columns<'_>,
    ) -> (Option<std::result::Result<Written, Error>>, Option<std::result::Result<Written, Error>>) {
        let call = match self.call().await {
            Ok(call) => call,
            Err(error) => return (Some(Err(same(&error))), Some(Err(error))),
        };
        let (key, statements) = (ScopeKey::new(scope), &self.inner().statements);
        let (by_version, absent) = tokio::join!(
            by_version.run(&call, &statements.claim_by_version, &key),
            absent.run(&call, &statements.claim_absent, &key),
        );
        (absent.map(|written| written.map_err(failed)), by_version.map(|written| written.map_err(failed)))
    }

    fn announce(&self, scope: &ConsumerScope, claims: &[Claim], outcomes: &[ClaimOutcome]) {
        for (claim, outcome) in claims.iter().zip(outcomes) {
            if let (Some(audience), ClaimOutcome::Won(_)) = (&claim.announces_to, outcome) {
                let channel = watch::channel(self.inner().schema.name(), scope);
                self.inner().announcer.announce(channel, watch::payload(&claim.partition, audience));
            }
        }
    }

    pub(crate) async fn ownership(&self, scope: &ConsumerScope) -> Result<OwnershipList> {
        let key = ScopeKey::new(scope);
        let [namespace, hub, group] = &key.texts();
        let limit = i64::try_from(MAX_LISTED + 1).unwrap_or(i64::MAX);
        let parameters =
            [text(namespace), text(hub), text(group), (&limit as &(dyn ToSql + Sync), Type::INT8)];
        let call = self.call().await?;
        let rows = call.run(&self.inner().statements.list_ownership, &parameters).await;
        let list = rows.and_then(|rows| Ok(listed(&rows)?));
        list.map_err(|failure| failure.during("list ownership"))
    }
}

fn listed(rows: &[Row]) -> DriverResult<OwnershipList> {
    let now: Option<SystemTime> = rows.first().map(|row| row.try_get(0)).transpose()?;
    let (mut records, mut rejected) = (Vec::new(), Vec::new());
    for row in rows.iter().take(MAX_LISTED) {
        // The row that has the time only.
        let Some(name) = row.try_get::<_, Option<&str>>(1)? else { continue };
        match PartitionId::new(name) {
            Ok(partition) => records.push(record(row, partition)?),
            Err(reason) => rejected.push(RejectedRecord::new(shortened(name), reason.to_string())),
        }
    }
    if rows.len() > MAX_LISTED {
        rejected.push(RejectedRecord::new("", "there are too many records; the rest was not read"));
    }
    Ok(OwnershipList::new(records, now, rejected))
}

fn record(row: &Row, partition: PartitionId) -> DriverResult<Ownership> {
    let (owner, mark): (Option<&str>, Option<&str>) = (row.try_get(2)?, row.try_get(3)?);
    // An owner id that nobody can have is read as none, which heals with a claim.
    let owner = owner.and_then(|owner| OwnerId::new(owner).ok());
    let record = Ownership::new(partition, owner, version(row.try_get(4)?), Some(row.try_get(5)?));
    Ok(record.with_mark(mark.map(Mark::new)))
}

fn shortened(name: &str) -> String {
    name.chars().take(MAX_REPORTED).collect()
}
