//! Ownership records: listing them, and claims in one script.

use std::sync::Arc;

use eventhubs_checkpoint_store::{
    Audience, Claim, ClaimOutcome, Error, Ownership, OwnershipList, RejectedRecord, Result, Version,
};
use eventhubs_types::ConsumerScope;

use crate::names::Kind;
use crate::records::{self, MAX_LISTED, SEPARATOR};
use crate::replicas::Written;
use crate::shared::Shared;
use crate::{error, listing, replicas};

/// The longest hint that is published, in bytes.
const MAX_HINT: usize = 200;

const CONTEXT: &str = "claim ownership";

pub(crate) async fn list(shared: &Shared, scope: &ConsumerScope) -> Result<OwnershipList> {
    let listing = listing::read(shared, "list ownership", scope, Kind::Ownership).await?;
    let mut list = OwnershipList::new(Vec::new(), Some(listing.now), Vec::new());
    for [field, version, value] in listing.records {
        match records::ownership(&field, &version, &value) {
            Ok(record) => list.records.push(record),
            Err(rejected) => list.rejected.push(rejected),
        }
    }
    if listing.count > MAX_LISTED {
        let reason = "there are too many records; the rest was not read";
        list.rejected.push(RejectedRecord::new(scope.to_string(), reason));
    }
    Ok(list)
}

/// A claim as the script takes it.
struct Attempt<'a> {
    claim: &'a Claim,
    version: String,
    rest: String,
}

/// Tries the claims in one script. Returns the outcome of each.
pub(crate) async fn claim(shared: &Shared, scope: &ConsumerScope, claims: &[Claim]) -> Vec<ClaimOutcome> {
    let attempts: Vec<Result<Attempt<'_>>> = claims.iter().map(attempt).collect();
    let sent: Vec<&Attempt<'_>> = attempts.iter().filter_map(|attempt| attempt.as_ref().ok()).collect();
    let mut outcomes = send(shared, scope, &sent).await.into_iter();
    let merge = |attempt: Result<Attempt<'_>>| match attempt {
        Ok(_) => outcomes.next().unwrap_or(ClaimOutcome::Lost),
        Err(error) => ClaimOutcome::Failed(error),
    };
    attempts.into_iter().map(merge).collect()
}

fn attempt(claim: &Claim) -> Result<Attempt<'_>> {
    Ok(Attempt { claim, version: records::new_version(), rest: records::rest_of_claim(claim)? })
}

async fn send(shared: &Shared, scope: &ConsumerScope, sent: &[&Attempt<'_>]) -> Vec<ClaimOutcome> {
    if sent.is_empty() {
        return Vec::new();
    }
    let key = shared.names.key(scope, Kind::Ownership);
    let written = match write(shared, scope, &key, sent).await {
        Ok(written) => written,
        Err(error) => return failed(sent.len(), error),
    };
    let mut outcomes: Vec<_> =
        sent.iter().zip(&written).map(|(attempt, reply)| outcome(attempt, reply)).collect();
    confirm(shared, &key, sent, &written, &mut outcomes).await;
    outcomes
}

async fn write(
    shared: &Shared,
    scope: &ConsumerScope,
    key: &str,
    sent: &[&Attempt<'_>],
) -> Result<Vec<String>> {
    let channel = shared.names.channel(scope);
    let prepare = |call: &mut redis::ScriptInvocation<'_>| {
        call.key(key).arg(shared.publish).arg(channel);
        for Attempt { claim, version, rest } in sent {
            call.arg(claim.partition.as_str()).arg(records::expected(&claim.expected)).arg(version).arg(rest);
            call.arg(hint(claim));
        }
    };
    let written: Vec<String> = shared.link.script(CONTEXT, &shared.scripts.write, prepare).await?;
    if written.len() == sent.len() {
        Ok(written)
    } else {
        Err(error::answer(CONTEXT, "the script returned another number of outcomes"))
    }
}

/// What is published of a claim that is won; nothing for most.
fn hint(claim: &Claim) -> String {
    let partition = claim.partition.as_str();
    match &claim.announces_to {
        None => String::new(),
        // One that would be too long is for everyone, which costs the others a look and nothing else.
        Some(Audience::Owner(owner)) if partition.len() + owner.as_str().len() < MAX_HINT => {
            format!("{partition}{SEPARATOR}{owner}")
        }
        Some(_) => partition.to_owned(),
    }
}

fn outcome(attempt: &Attempt<'_>, reply: &str) -> ClaimOutcome {
    if reply.is_empty() {
        return ClaimOutcome::Lost;
    }
    let claim = attempt.claim;
    let modified = records::time(reply.trim_start_matches('+'));
    let record = Ownership::new(
        claim.partition.clone(),
        claim.owner.clone(),
        Version::new(&attempt.version),
        modified,
    );
    ClaimOutcome::Won(record.with_mark(claim.mark.clone()))
}

/// Waits for the replicas, if that is asked for, where a partition has a new owner. A renewal that is lost in a
/// fail-over gives nobody a second owner, and neither does a release.
async fn confirm(
    shared: &Shared,
    key: &str,
    sent: &[&Attempt<'_>],
    written: &[String],
    outcomes: &mut [ClaimOutcome],
) {
    let Some(waiting) = &shared.replicas else { return };
    let is_new_owner = |index: &usize| written[*index].starts_with('+') && sent[*index].claim.owner.is_some();
    let changed: Vec<usize> = (0..sent.len()).filter(is_new_owner).collect();
    if changed.is_empty() {
        return;
    }
    let of = |index: &usize| Written {
        field: sent[*index].claim.partition.as_str(),
        version: &sent[*index].version,
    };
    let records: Vec<_> = changed.iter().map(of).collect();
    match waiting.confirm(CONTEXT, key, &records).await {
        Ok(held) => {
            for (index, _) in changed.into_iter().zip(held).filter(|(_, held)| !held) {
                outcomes[index] = ClaimOutcome::Failed(replicas::overwritten(CONTEXT));
            }
        }
        Err(error) => {
            for (index, failed) in changed.iter().zip(failed(changed.len(), error)) {
                outcomes[*index] = failed;
            }
        }
    }
}

/// The failure of a call that had this many claims.
fn failed(count: usize, error: Error) -> Vec<ClaimOutcome> {
    let (kind, error) = (error.kind(), Arc::new(error));
    let failed = || Error::new(kind, "the claims were sent together").with_source(Arc::clone(&error));
    (0..count).map(|_| ClaimOutcome::Failed(failed())).collect()
}
