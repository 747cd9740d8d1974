//! Lines that are cut off or damaged.

use std::fs;

use eventhubs_dead_letters::{DeadLetterSink as _, ErrorKind, FileDeadLetters};

use crate::{absent_file, letter, open, read};

#[tokio::test]
async fn a_line_that_a_crash_cut_off_anywhere_is_passed_over_and_repaired() {
    let (_folder, path) = absent_file();
    let sink = open(&path).await;
    sink.put(&letter(1)).await.unwrap();
    let one = fs::read(&path).unwrap();
    sink.put(&letter(2)).await.unwrap();
    let two = fs::read(&path).unwrap();
    drop(sink);
    for length in (one.len()..two.len()).step_by(7).chain([1, one.len() - 1, two.len() - 1]) {
        let whole = usize::from(length >= one.len());
        fs::write(&path, &two[..length]).unwrap();
        assert_eq!(read(&path), [Ok(1)][..whole], "cut at {length}");
        open(&path).await.put(&letter(3)).await.unwrap();
        assert_eq!(read(&path), [&[Ok(1)][..whole], &[Ok(3)]].concat(), "cut at {length}");
    }
}

#[tokio::test]
async fn a_damaged_line_is_told_by_its_number_and_hides_no_other() {
    let (_folder, path) = absent_file();
    let sink = open(&path).await;
    for number in [1, 2, 3] {
        sink.put(&letter(number)).await.unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let other_version = lines[1].replace("\"version\":1", "\"version\":2");
    let bad_name = lines[1].replace("\"partition_id\":\"0\"", "\"partition_id\":\"a/b\"");
    let bad_message = lines[1].replace("\"message\":\"", "\"message\":\"?");
    for bad in ["", "\0\0\0", &lines[1][..20], "canary", "{}", &other_version, &bad_name, &bad_message] {
        fs::write(&path, format!("{}\n{bad}\n{}\n", lines[0], lines[2])).unwrap();
        assert_eq!(read(&path), [Ok(1), Err(Some(2)), Ok(3)], "{bad:?}");
        let error = FileDeadLetters::read(&path).unwrap().find_map(Result::err).unwrap();
        assert_eq!(error.kind(), ErrorKind::Malformed);
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}

#[tokio::test]
async fn a_line_of_a_later_version_says_which_versions_there_are() {
    let (_folder, path) = absent_file();
    fs::write(&path, "{\"version\":2,\"something\":\"else\"}\n").unwrap();
    let error = FileDeadLetters::read(&path).unwrap().next().unwrap().unwrap_err();
    assert!(
        error.to_string().ends_with("line 1: it has version 2, and this program knows version 1"),
        "{error}"
    );
}
