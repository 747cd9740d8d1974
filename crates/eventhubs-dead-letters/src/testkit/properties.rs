//! The properties: what every sink promises.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use eventhubs_types::{EventBody, EventData};
use tokio::task::JoinSet;

use crate::DeadLetter;
use crate::testkit::letters::{letter, letter_in, message, rich_event, scope};
use crate::testkit::scene::{Scene, drop_after};

/// How many letters are put at once.
const AT_ONCE: i64 = 32;

/// The last of a call's awaits at which it is dropped, if it has this many.
const MAX_POLLS: usize = 24;

/// The service takes messages of 1 MiB, all that is added to an event included.
const LARGE: usize = 1024 * 1024 - 2048;

/// Names that a careless sink mixes up: by prefix, as a wildcard, or as a part of a path or of SQL.
const HOSTILE: [&str; 10] =
    ["1", "10", "1 0", "1%2F0", "1?0#&=;", "1'0\"", "1%_*0", "1<0>", "'; DROP TABLE x; --", "größe-日本"];

/// All that is known of an event and its failure is kept.
pub async fn a_letter_comes_back_as_written(scene: Scene) {
    let letter = letter(7, EventData::new("body")).with_message(Some(message(b"body")));
    scene.put(&letter).await;
    scene.assert_kept(&[letter]).await;
}

/// Events that a test made have no message; what is decoded of them is kept.
pub async fn a_letter_without_a_message_comes_back_as_written(scene: Scene) {
    let letters = [letter(7, rich_event()), letter(8, EventData::new("")).with_enqueued_time(None)];
    for letter in &letters {
        scene.put(letter).await;
    }
    scene.assert_kept(&letters).await;
}

/// The owner may crash between the letter and the checkpoint, and the next one has another count.
pub async fn a_letter_that_comes_twice_is_no_error(scene: Scene) {
    let first = letter(7, EventData::new("body")).with_message(Some(message(b"body")));
    let second = first.clone().after(6, first.first_failed());
    scene.put(&first).await;
    scene.put(&first).await;
    scene.put(&second).await;
    let kept = scene.letters().await;
    assert!(kept.iter().any(|kept| scene.is_same(kept, &second)), "the last one is kept: {kept:#?}");
    assert!(kept.iter().all(|kept| scene.is_same(kept, &first) || scene.is_same(kept, &second)), "{kept:#?}");
}

/// Its numbers begin again, so that only the enqueued time tells two events apart.
pub async fn an_event_of_a_hub_that_was_created_again_is_another_letter(scene: Scene) {
    let later = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let letters = [
        letter(0, EventData::new("old")).with_message(Some(message(b"old"))),
        letter(0, EventData::new("new")).with_message(Some(message(b"new"))).with_enqueued_time(Some(later)),
    ];
    for letter in &letters {
        scene.put(letter).await;
    }
    scene.assert_kept(&letters).await;
}

/// Partitions give up events at the same time, and none is lost.
pub async fn letters_at_once_all_come_back(scene: Scene) {
    let letters: Vec<_> = (0..AT_ONCE).map(numbered).collect();
    let mut puts = JoinSet::new();
    for letter in letters.clone() {
        let sink = scene.sink();
        puts.spawn(async move { sink.put(&letter).await });
    }
    for put in puts.join_all().await {
        put.expect("a letter is taken");
    }
    scene.assert_kept(&letters).await;
}

/// Each part of where an event came from is kept as it is.
pub async fn letters_of_hostile_names_do_not_mix(scene: Scene) {
    let mut letters = Vec::new();
    for name in HOSTILE {
        let scopes = [scope(name, "group"), scope("hub", name), scope("hub", "group")];
        for (scope, partition) in scopes.into_iter().zip(["0", "0", name]) {
            let event = EventData::new(format!("{name} {partition}"));
            letters.push(letter_in(scope, partition, 1, event));
        }
    }
    for letter in &letters {
        scene.put(letter).await;
    }
    scene.assert_kept(&letters).await;
}

/// Texts of errors quote what somebody sent.
pub async fn letters_of_hostile_texts_come_back(scene: Scene) {
    let texts = ["", "a\nb\r\tc", "'\"\\;--", "\u{1}\u{7f}\u{feff}", "\0", "日本 🦀"];
    let letters: Vec<_> = (0..)
        .zip(texts)
        .map(|(number, text)| letter(number, EventData::new("body")).because(text, &text.repeat(100)))
        .collect();
    for letter in &letters {
        scene.put(letter).await;
    }
    scene.assert_kept(&letters).await;
}

/// What nobody can decode is the event that needs a letter most.
pub async fn a_message_that_cannot_be_decoded_comes_back(scene: Scene) {
    let raw = Bytes::from_static(b"\xff\x00\x53\x75 no message\0\n");
    let event = EventData::with_body(EventBody::Undecodable(raw.clone()));
    let parts = vec!["body".to_owned()];
    let letter = letter(7, event).with_message(Some(raw)).with_undecodable_parts(parts);
    scene.put(&letter).await;
    scene.assert_kept(&[letter]).await;
}

/// A letter that was answered with `Ok` is there after the end of the process, and the sink takes more of them.
pub async fn letters_survive_a_restart(mut scene: Scene) {
    scene.put(&numbered(1)).await;
    scene.restart().await;
    scene.put(&numbered(2)).await;
    scene.assert_kept(&[numbered(1), numbered(2)]).await;
}

/// Also where every byte needs to be escaped.
pub async fn an_event_of_nearly_one_mebibyte_comes_back(scene: Scene) {
    let bodies = [vec![b'"'; LARGE], vec![0; LARGE]];
    let letters: Vec<_> = (0..)
        .zip(bodies)
        .map(|(number, body)| letter(number, EventData::new(body.clone())).with_message(Some(message(&body))))
        .collect();
    for letter in &letters {
        scene.put(letter).await;
    }
    scene.assert_kept(&letters).await;
}

/// Whoever stops waiting leaves the letter there or not, and disturbs no other letter.
pub async fn a_dropped_put_leaves_the_letter_whole_or_not_at_all(scene: Scene) {
    let (mut dropped, mut put) = (Vec::new(), Vec::new());
    for (polls, number) in (1..=MAX_POLLS).zip(0..) {
        let letter = numbered(2 * number);
        let is_done = drop_after(polls, scene.sink().put(&letter)).await;
        dropped.push(letter);
        // The next one shows that the sink works on.
        put.push(numbered(2 * number + 1));
        scene.put(&numbered(2 * number + 1)).await;
        if is_done {
            break;
        }
    }
    let kept = scene.letters().await;
    let is_one_of =
        |letters: &[DeadLetter], kept: &DeadLetter| letters.iter().any(|put| scene.is_same(kept, put));
    assert!(kept.iter().all(|kept| is_one_of(&dropped, kept) || is_one_of(&put, kept)), "{kept:#?}");
    assert!(put.iter().all(|put| kept.iter().any(|kept| scene.is_same(kept, put))), "{kept:#?}");
}

fn numbered(number: i64) -> DeadLetter {
    let body = format!("event {number}");
    letter(number, EventData::new(body.clone())).with_message(Some(message(body.as_bytes())))
}
