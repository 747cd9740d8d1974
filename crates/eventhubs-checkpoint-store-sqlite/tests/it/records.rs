//! Records that nobody should have written, and limits of what can be written.

use eventhubs_checkpoint_store::{
    Checkpoint, CheckpointOutcome, CheckpointStore as _, DeleteOutcome, ErrorKind, Expected, Version,
};

use crate::{absent_file, at, claim, connect, open, partition, scope, sequence_number, version_of, won};

#[tokio::test]
async fn a_record_that_makes_no_sense_fails_no_listing() {
    let (_folder, path) = absent_file();
    let store = open(&path).await;
    won(&store, &claim("good", Some("a"), Expected::Absent)).await;
    let other = connect(&path);
    let insert =
        "INSERT INTO eventhubs_ownership VALUES ('n.example.net', 'hub', 'group', ?1, ?2, NULL, 1, 0)";
    other.execute(insert, ["a/b", "a"]).unwrap();
    other.execute(insert, ["healed", "a/b"]).unwrap();
    let insert = "INSERT INTO eventhubs_ownership
        VALUES ('n.example.net', 'hub', 'group', CAST(x'41ff' AS TEXT), 'a', NULL, 1, 0)";
    other.execute(insert, []).unwrap();

    let mut list = store.list_ownership(&scope()).await.unwrap();
    list.records.sort_by(|a, b| a.partition.cmp(&b.partition));
    let found: Vec<_> =
        list.records.iter().map(|record| (record.partition.as_str(), &record.owner)).collect();
    assert_eq!(found, [("good", &list.records[0].owner), ("healed", &None)]);
    let mut rejected: Vec<_> = list.rejected.iter().map(|record| record.name.as_str()).collect();
    rejected.sort_unstable();
    assert_eq!(rejected, ["A\u{fffd}", "a/b"]);
    won(&store, &claim("healed", Some("a"), version_of(&list.records[1]))).await;
}

#[tokio::test]
async fn a_listing_ends_at_its_limit_and_says_so() {
    let (_folder, path) = absent_file();
    let store = open(&path).await;
    let insert = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000)
        INSERT INTO eventhubs_ownership SELECT 'n.example.net', 'hub', 'group', i, NULL, NULL, i, 0 FROM n";
    connect(&path).execute(insert, []).unwrap();
    let list = store.list_ownership(&scope()).await.unwrap();
    assert_eq!((list.records.len(), list.rejected.len()), (8192, 1));
    assert!(list.rejected[0].reason.contains("too many"), "{:?}", list.rejected);
}

#[tokio::test]
async fn a_checkpoint_without_a_position_or_with_a_huge_one_is_refused() {
    let (_folder, path) = absent_file();
    let store = open(&path).await;
    let huge = Checkpoint::new(partition("0"), Some("1".repeat(5000).into()), None);
    for (checkpoint, field) in [(Checkpoint::new(partition("0"), None, None), "checkpoint"), (huge, "offset")]
    {
        let error = store.update_checkpoint(&scope(), &checkpoint, &Expected::Absent).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(field), "{error}");
    }
    assert_eq!(sequence_number(&store).await, None);
}

#[tokio::test]
async fn the_version_of_another_store_is_never_there() {
    let (_folder, path) = absent_file();
    let store = open(&path).await;
    let record = won(&store, &claim("0", Some("a"), Expected::Absent)).await;
    for version in ["0x1", "\"etag\"", &format!("0{}", record.version.as_str()), "", "9223372036854775808"] {
        let version = Version::new(version);
        let expected = Expected::Version(version.clone());
        let written = store.update_checkpoint(&scope(), &at(1), &expected).await.unwrap();
        assert_eq!(written, CheckpointOutcome::Conflict);
        let deleted = store.delete_ownership(&scope(), &partition("0"), &version).await.unwrap();
        assert_eq!(deleted, DeleteOutcome::Conflict);
    }
}

#[tokio::test]
async fn a_dropped_table_is_not_found() {
    let (_folder, path) = absent_file();
    let store = open(&path).await;
    connect(&path).execute("DROP TABLE eventhubs_ownership", []).unwrap();
    let error = store.list_ownership(&scope()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}
