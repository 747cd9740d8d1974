//! The store against a scripted backend: lost answers, malformed blobs, and limits.

use eventhubs_checkpoint_store::Version;
use eventhubs_types::{ConsumerGroup, EventHubName, Namespace, OwnerId};

use std::time::SystemTime;

use super::*;
use crate::backend::fake::{FakeBackend, Fault};
use crate::listing::MAX_REPORTED_NAME;

fn scope() -> ConsumerScope {
    ConsumerScope::new(
        Namespace::new("ns.servicebus.windows.net").unwrap(),
        EventHubName::new("hub").unwrap(),
        ConsumerGroup::default(),
    )
}

fn zero() -> PartitionId {
    PartitionId::new("0").unwrap()
}

fn name(kind: Kind) -> String {
    names::blob(&scope(), kind, Naming::LowerCase, &zero())
}

fn store(fake: FakeBackend) -> (BlobCheckpointStore, Arc<FakeBackend>) {
    let fake = Arc::new(fake);
    let backend: Arc<dyn BlobBackend> = Arc::<FakeBackend>::clone(&fake);
    let access = Arc::new(Access::new(Connection::parse("UseDevelopmentStorage=true").unwrap()));
    let store = BlobCheckpointStore::new(backend, access, options());
    (store, fake)
}

fn options() -> Options {
    Options { naming: Naming::default(), call_timeout: crate::DEFAULT_CALL_TIMEOUT, takes_older: false }
}

fn faulty(faults: impl IntoIterator<Item = Fault>) -> (BlobCheckpointStore, Arc<FakeBackend>) {
    store(FakeBackend::with_faults(faults))
}

fn lost() -> Error {
    Error::new(ErrorKind::Unavailable, "the answer was lost")
}

fn owned_by(owner: &str) -> Metadata {
    Metadata::from_iter([("ownerid", owner)])
}

fn claim_by(owner: &str, expected: Expected) -> Claim {
    Claim::new(zero(), Some(OwnerId::new(owner).unwrap()), expected)
}

fn at(sequence_number: i64) -> Checkpoint {
    Checkpoint::new(zero(), Some("100".into()), Some(sequence_number.into()))
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_took_effect_without_an_answer_is_won() {
    let (store, fake) = faulty([Fault::After(lost())]);
    let outcome = store.claim_ownership(&scope(), &claim_by("me", Expected::Absent)).await;
    let ClaimOutcome::Won(record) = outcome else { panic!("{outcome:?}") };
    assert_eq!(record.version, Version::new("1"));
    // The write, the same again, and the read that tells whose the record is.
    assert_eq!(fake.requests(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_took_effect_without_an_answer_is_won() {
    let (store, fake) = faulty([Fault::After(lost())]);
    let old = fake.put(&name(Kind::Ownership), owned_by("me")).version;
    let outcome = store.claim_ownership(&scope(), &claim_by("me", Expected::Version(old.clone()))).await;
    let ClaimOutcome::Won(record) = outcome else { panic!("{outcome:?}") };
    assert_ne!(record.version, old);
}

#[tokio::test(start_paused = true)]
async fn a_release_that_took_effect_without_an_answer_is_won() {
    let (store, fake) = faulty([Fault::After(lost())]);
    let old = fake.put(&name(Kind::Ownership), owned_by("me")).version;
    let release = Claim::new(zero(), None, Expected::Version(old));
    assert!(matches!(store.claim_ownership(&scope(), &release).await, ClaimOutcome::Won(_)));
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_had_no_effect_is_made_again() {
    let (store, _) = faulty([Fault::Before(lost()), Fault::Before(lost())]);
    let outcome = store.claim_ownership(&scope(), &claim_by("me", Expected::Absent)).await;
    assert!(matches!(outcome, ClaimOutcome::Won(_)), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_overtaken_after_a_lost_answer_is_lost() {
    let (store, _) = faulty([Fault::Overtaken(lost(), owned_by("other"))]);
    let outcome = store.claim_ownership(&scope(), &claim_by("me", Expected::Absent)).await;
    assert!(matches!(outcome, ClaimOutcome::Lost), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_claim_against_a_record_of_my_own_that_i_did_not_expect_is_lost() {
    let (store, fake) = faulty([]);
    fake.put(&name(Kind::Ownership), owned_by("me"));
    let outcome = store.claim_ownership(&scope(), &claim_by("me", Expected::Absent)).await;
    assert!(matches!(outcome, ClaimOutcome::Lost), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_answers_are_all_lost_fails_as_transient() {
    let (store, _) = faulty((0..4).map(|_| Fault::After(lost())));
    let outcome = store.claim_ownership(&scope(), &claim_by("me", Expected::Absent)).await;
    assert!(matches!(outcome, ClaimOutcome::Failed(error) if error.is_transient()));
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_took_effect_without_an_answer_is_written() {
    let (store, _) = faulty([Fault::After(lost())]);
    let outcome = store.update_checkpoint(&scope(), &at(7), &Expected::Absent).await.unwrap();
    assert_eq!(outcome, CheckpointOutcome::Written(Version::new("1")));
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_was_overtaken_after_a_lost_answer_is_a_conflict() {
    let other = Metadata::from_iter([("offset", "900"), ("sequencenumber", "9")]);
    let (store, _) = faulty([Fault::Overtaken(lost(), other)]);
    let outcome = store.update_checkpoint(&scope(), &at(7), &Expected::Absent).await.unwrap();
    assert_eq!(outcome, CheckpointOutcome::Conflict);
}

#[tokio::test(start_paused = true)]
async fn a_read_outlasts_three_failures_and_no_fourth() {
    let (store, fake) = faulty((0..3).map(|_| Fault::Before(lost())));
    fake.put(&name(Kind::Checkpoint), Metadata::from_iter([("offset", "100"), ("sequencenumber", "7")]));
    assert!(store.checkpoint(&scope(), &zero()).await.unwrap().is_some());
    assert_eq!(fake.requests(), 4);
    let (store, fake) = faulty((0..4).map(|_| Fault::Before(lost())));
    assert_eq!(store.checkpoint(&scope(), &zero()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(fake.requests(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_refused_credential_is_reported_at_once() {
    let (store, fake) = faulty([Fault::Before(Error::new(ErrorKind::Unauthorized, "no"))]);
    assert_eq!(store.list_ownership(&scope()).await.unwrap_err().kind(), ErrorKind::Unauthorized);
    assert_eq!(fake.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_at_its_limit() {
    let (store, _) = faulty([Fault::Hang]);
    let outcome = store.claim_ownership(&scope(), &claim_by("me", Expected::Absent)).await;
    assert!(matches!(outcome, ClaimOutcome::Failed(error) if error.kind() == ErrorKind::Timeout));
    let (store, _) = faulty([Fault::Hang]);
    assert_eq!(store.list_checkpoints(&scope()).await.unwrap_err().kind(), ErrorKind::Timeout);
}

#[tokio::test(start_paused = true)]
async fn a_listing_follows_short_and_empty_pages_to_the_end() {
    let (store, fake) = store(FakeBackend::with_pages_of(2));
    for partition in 0..5 {
        fake.put(
            &format!("{}{partition}", names::prefix(&scope(), Kind::Ownership, Naming::LowerCase)),
            owned_by("me"),
        );
    }
    let list = store.list_ownership(&scope()).await.unwrap();
    assert_eq!(list.records.len(), 5);
    assert_eq!(list.now, Some(SystemTime::UNIX_EPOCH));
    assert_eq!(fake.requests(), 4 + 1, "one of them looks for another spelling");
}

#[tokio::test(start_paused = true)]
async fn a_listing_without_end_is_cut_and_says_so() {
    let (store, fake) = store(FakeBackend::with_pages_of(1));
    for partition in 0..=MAX_PAGES {
        fake.put(
            &format!("{}{partition:03}", names::prefix(&scope(), Kind::Ownership, Naming::LowerCase)),
            owned_by("me"),
        );
    }
    let list = store.list_ownership(&scope()).await.unwrap();
    assert_eq!(list.records.len(), MAX_PAGES);
    assert!(list.rejected[0].reason.contains("too many"), "{:?}", list.rejected);
}

#[tokio::test(start_paused = true)]
async fn a_foreign_blob_is_reported_and_its_name_cut() {
    let (store, fake) = faulty([]);
    let prefix = names::prefix(&scope(), Kind::Ownership, Naming::LowerCase);
    fake.put(&format!("{prefix}0/{}", "x".repeat(900)), owned_by("me"));
    fake.put(&format!("{prefix}0"), owned_by("me"));
    let list = store.list_ownership(&scope()).await.unwrap();
    assert_eq!(list.records.len(), 1);
    assert_eq!(list.rejected[0].name.len(), MAX_REPORTED_NAME);
    assert!(list.rejected[0].reason.contains("too long"), "{:?}", list.rejected);
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_without_a_usable_position_can_be_replaced() {
    let (store, fake) = faulty([]);
    let junk = Metadata::from_iter([("offset", "None"), ("sequencenumber", "abc")]);
    fake.put(&name(Kind::Checkpoint), junk);
    let found = store.checkpoint(&scope(), &zero()).await.unwrap().unwrap();
    assert_eq!(found.resume_position(), None);
    assert_eq!(store.list_checkpoints(&scope()).await.unwrap(), std::slice::from_ref(&found));
    let expected = Expected::Version(found.version.unwrap());
    let outcome = store.update_checkpoint(&scope(), &at(7), &expected).await.unwrap();
    assert!(matches!(outcome, CheckpointOutcome::Written(_)));
}

#[tokio::test(start_paused = true)]
async fn what_others_could_not_read_is_refused_before_anything_is_sent() {
    let (store, fake) = faulty([]);
    let outcome = store.claim_ownership(&scope(), &claim_by("owner-é", Expected::Absent)).await;
    assert!(matches!(outcome, ClaimOutcome::Failed(error) if error.kind() == ErrorKind::InvalidArgument));
    let nothing = Checkpoint::new(zero(), None, None);
    let error = store.update_checkpoint(&scope(), &nothing, &Expected::Absent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(fake.requests(), 0);
}

#[test]
fn a_bad_container_name_or_connection_string_is_refused_without_io() {
    let development = "UseDevelopmentStorage=true";
    for (connection_string, container, field) in
        [(development, "Folder/x", "container"), ("AccountName=a", "checkpoints", "AccountKey")]
    {
        let error = BlobCheckpointStore::from_connection_string(connection_string, container).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(field), "{error}");
    }
}
