//! What a store promises of names: it keeps them apart and gives them back as they were, whatever they look
//! like in a path, a query or a header.

use eventhubs_checkpoint_store::{Checkpoint, ClaimOutcome, ErrorKind, Expected};
use eventhubs_types::{OwnerId, SequenceNumber};

use crate::scene::{Scene, owner, partition};

/// Names that a careless store mixes up: by case of encoding, by prefix, or as a wildcard.
const HOSTILE: [&str; 12] =
    ["1", "10", "1 0", "1+0", "1%200", "1%2F0", "1?0", "1#0", "1&0=;", "1'0\"", "1%_*0", "1<0>"];

/// What stores join names by. No name has a slash or a control character.
const SEPARATORS: [&str; 13] = ["-", "_", ".", ":", "|", ",", ";", "%", "{", "}", "}:{", "%2F", " "];

/// Two groups, hubs or namespaces share nothing, also when one name begins with the other.
pub async fn scopes_do_not_mix(scene: Scene) {
    let scopes = [
        scene.clone(),
        scene.with_scope(|scope| scope.consumer_group = "group2".parse().expect("a valid consumer group")),
        scene.with_scope(|scope| scope.consumer_group = "ownership".parse().expect("a valid consumer group")),
        scene.with_scope(|scope| {
            scope.event_hub = format!("{}2", scope.event_hub).parse().expect("a valid hub");
        }),
        scene
            .with_scope(|scope| scope.namespace = "testkit2.example.net".parse().expect("a valid namespace")),
    ];
    for (number, scene) in (0..).zip(&scopes) {
        scene.claim("0", Some(&format!("owner-{number}")), Expected::Absent).await;
        scene.write(&numbered("0", number), &Expected::Absent).await;
    }
    for (number, scene) in (0..).zip(&scopes) {
        assert_eq!(scene.only_record().await.owner, Some(owner(&format!("owner-{number}"))));
        let read = scene.read("0").await.expect("each scope has its checkpoint");
        assert_eq!(read.sequence_number, Some(SequenceNumber::new(number)));
    }
}

/// A store that joins the names of a scope must not let one end where another begins.
pub async fn scopes_joined_by_a_separator_do_not_mix(scene: Scene) {
    for separator in SEPARATORS {
        let hub = |name: &str| format!("{}{name}", scene.scope.event_hub);
        let one = named(&scene, &hub(&format!("a{separator}b")), "c");
        let two = named(&scene, &hub("a"), &format!("b{separator}c"));
        // A third scope, whose hub ends like the second one's group.
        let three = named(&scene, &hub(&format!("a{separator}b{separator}c")), "c");
        for (number, scene) in (0..).zip([&one, &two, &three]) {
            scene.claim("0", Some(&format!("owner-{number}")), Expected::Absent).await;
            scene.write(&numbered("0", number), &Expected::Absent).await;
        }
        for (number, scene) in (0..).zip([&one, &two, &three]) {
            let owner = scene.only_record().await.owner;
            assert_eq!(owner, Some(self::owner(&format!("owner-{number}"))), "names joined by {separator:?}");
            let read = scene.read("0").await.and_then(|read| read.sequence_number);
            assert_eq!(read, Some(SequenceNumber::new(number)), "names joined by {separator:?}");
        }
    }
}

/// The names of the namespace and of the hub are kept apart as well.
pub async fn namespaces_and_hubs_joined_by_a_separator_do_not_mix(scene: Scene) {
    for (number, (namespace, hub)) in
        [("a", "b-c"), ("a-b", "c"), ("a.b", "c"), ("a", "b.c")].into_iter().enumerate()
    {
        let scene = scene.with_scope(|scope| {
            scope.namespace = namespace.parse().expect("a valid namespace");
            scope.event_hub = hub.parse().expect("a valid hub");
        });
        scene.claim("0", Some(&format!("owner-{number}")), Expected::Absent).await;
        assert_eq!(scene.only_record().await.owner, Some(owner(&format!("owner-{number}"))));
    }
}

/// The service does not tell names apart by case: instances that spell them differently share the partitions.
pub async fn scopes_that_differ_in_case_are_one(scene: Scene) {
    let upper = scene.in_upper_case();
    let owned = scene.claim("0", Some("a"), Expected::Absent).await;
    upper.assert_claim_is_lost("0", Some("b"), Expected::Absent).await;
    let stolen = upper.claim("0", Some("b"), Expected::Version(owned.version)).await;
    assert_eq!(scene.only_record().await, stolen, "one scope, whatever the case of its names");
    let version = upper.write(&numbered("0", 7), &Expected::Absent).await;
    assert_eq!(scene.read("0").await, Some(numbered("0", 7).with_version(version)));
}

/// Partition ids are compared byte by byte, and so are owner ids.
pub async fn partitions_and_owners_that_differ_in_case_are_two(scene: Scene) {
    for (number, id) in (0..).zip(["abc", "ABC", "Abc"]) {
        scene.claim(id, Some(id), Expected::Absent).await;
        scene.write(&numbered(id, number), &Expected::Absent).await;
    }
    let records = scene.records().await;
    let owners: Vec<_> = records
        .iter()
        .map(|record| (record.partition.as_str(), record.owner.as_ref().map(OwnerId::as_str)))
        .collect();
    assert_eq!(owners, ["ABC", "Abc", "abc"].map(|id| (id, Some(id))), "compared byte by byte");
    for (number, id) in (0..).zip(["abc", "ABC", "Abc"]) {
        let read = scene.read(id).await.and_then(|read| read.sequence_number);
        assert_eq!(read, Some(SequenceNumber::new(number)), "partition {id:?}");
    }
}

/// A partition id is text: what has the value of the same number is another partition.
pub async fn partitions_are_no_numbers(scene: Scene) {
    let ids = ["1", "01", "+1", "1.0", "0x1", "1e0"];
    for (number, id) in (0..).zip(ids) {
        scene.claim(id, Some(id), Expected::Absent).await;
        scene.write(&numbered(id, number), &Expected::Absent).await;
    }
    assert_eq!(scene.records().await.len(), ids.len());
    for (number, id) in (0..).zip(ids) {
        let read = scene.read(id).await.and_then(|read| read.sequence_number);
        assert_eq!(read, Some(SequenceNumber::new(number)), "partition {id:?}");
    }
}

/// Partition ids are opaque text; each has a record of its own.
pub async fn partitions_do_not_mix(scene: Scene) {
    let longest = "9".repeat(128);
    let ids = || HOSTILE.into_iter().chain([longest.as_str()]);
    for (number, id) in (0..).zip(ids()) {
        scene.claim(id, Some(&format!("owner-{number}")), Expected::Absent).await;
        scene.write(&numbered(id, number), &Expected::Absent).await;
    }
    let records = scene.records().await;
    assert_eq!(records.len(), HOSTILE.len() + 1);
    for (number, id) in (0..).zip(ids()) {
        let record = records.iter().find(|record| record.partition.as_str() == id);
        let name = record.and_then(|record| record.owner.as_ref()).map(OwnerId::as_str);
        assert_eq!(name, Some(format!("owner-{number}").as_str()), "partition {id:?}");
        let read = scene.read(id).await.expect("each partition has its checkpoint");
        assert_eq!(read.sequence_number, Some(SequenceNumber::new(number)), "partition {id:?}");
    }
}

/// Names of groups and hubs may be long, and hold what a path or a query would take for its own.
pub async fn names_come_back_as_written(scene: Scene) {
    let longest = "g".repeat(256);
    for name in HOSTILE.into_iter().chain(["$Default", &longest]) {
        let scene =
            scene.with_scope(|scope| scope.consumer_group = name.parse().expect("a valid consumer group"));
        scene.claim("0", Some("a"), Expected::Absent).await;
        scene.write(&numbered("0", 1), &Expected::Absent).await;
        assert_eq!(scene.only_record().await.owner, Some(owner("a")), "group {name:?}");
        assert!(scene.read("0").await.is_some(), "group {name:?}");
    }
}

/// The service has no such names; a store that cannot keep them says so.
pub async fn a_name_outside_ascii_comes_back_or_is_refused(scene: Scene) {
    let scene = scene.with_scope(|scope| scope.consumer_group = "größe-日本".parse().expect("a valid group"));
    assert_kept_or_refused(&scene, "ü-日本", "a").await;
}

/// Owner ids may hold what a header or a metadata value would take for its own.
pub async fn an_owner_id_comes_back_as_written(scene: Scene) {
    let longest = "o".repeat(256);
    let ids =
        ["Pod-1.West", "a b", "a=b;c,d", "\"quoted\"", "%41", "<a>&amp;", "0", "None", "null", &longest];
    for (number, id) in ids.into_iter().enumerate() {
        scene.claim(&number.to_string(), Some(id), Expected::Absent).await;
    }
    for record in scene.records().await {
        let number: usize = record.partition.as_str().parse().expect("a number was written");
        assert_eq!(record.owner, Some(owner(ids[number])));
    }
}

/// A store that cannot keep an owner id says so; it never keeps another one.
pub async fn an_owner_id_outside_ascii_comes_back_or_is_refused(scene: Scene) {
    assert_kept_or_refused(&scene, "0", "größe-日本").await;
}

async fn assert_kept_or_refused(scene: &Scene, id: &str, name: &str) {
    match scene.try_claim(id, Some(name), Expected::Absent).await {
        ClaimOutcome::Won(_) => {
            let record = scene.only_record().await;
            assert_eq!((record.partition, record.owner), (partition(id), Some(owner(name))));
        }
        ClaimOutcome::Failed(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
            assert_eq!(scene.records().await, [], "nothing was written");
        }
        other => panic!("kept or refused, not {other:?}"),
    }
}

fn numbered(id: &str, number: i64) -> Checkpoint {
    Checkpoint::new(partition(id), None, Some(SequenceNumber::new(number)))
}

fn named(scene: &Scene, hub: &str, group: &str) -> Scene {
    scene.with_scope(|scope| {
        scope.event_hub = hub.parse().expect("a valid hub");
        scope.consumer_group = group.parse().expect("a valid consumer group");
    })
}
