//! What may be wrong with a path, and what may happen to a file in use.

use std::fs;
use std::path::Path;

use eventhubs_dead_letters::{DeadLetterSink as _, ErrorKind, FileDeadLetters};

use crate::{absent_file, letter, open, read};

async fn kind(path: &Path) -> ErrorKind {
    FileDeadLetters::open(path).await.unwrap_err().kind()
}

#[tokio::test]
async fn a_file_of_something_else_is_refused_and_stays_as_it_is() {
    let (_folder, path) = absent_file();
    for content in ["name: value", "{\"versions\": []}\n", "\n"] {
        fs::write(&path, content).unwrap();
        assert_eq!(kind(&path).await, ErrorKind::InvalidArgument);
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
}

#[tokio::test]
async fn a_path_that_cannot_be_a_file_is_refused() {
    let (folder, path) = absent_file();
    assert_eq!(kind(folder.path()).await, ErrorKind::InvalidArgument);
    assert_eq!(kind(&path.join("letters.jsonl")).await, ErrorKind::NotFound);
    assert_eq!(FileDeadLetters::read(&path).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(FileDeadLetters::read(folder.path()).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[tokio::test]
async fn a_file_has_one_writer_and_any_number_of_readers() {
    let (_folder, path) = absent_file();
    let sink = open(&path).await;
    let clone = sink.clone();
    assert_eq!(kind(&path).await, ErrorKind::InUse);
    clone.put(&letter(1)).await.unwrap();
    assert_eq!(read(&path), [Ok(1)]);
    drop((sink, clone));
    open(&path).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_was_renamed_or_deleted_is_begun_again() {
    let (folder, path) = absent_file();
    let old = folder.path().join("old.jsonl");
    let sink = open(&path).await;
    sink.put(&letter(1)).await.unwrap();
    fs::rename(&path, &old).unwrap();
    sink.put(&letter(2)).await.unwrap();
    assert_eq!((read(&old), read(&path)), (vec![Ok(1)], vec![Ok(2)]));
    fs::remove_file(&path).unwrap();
    sink.put(&letter(3)).await.unwrap();
    assert_eq!(read(&path), [Ok(3)]);
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_that_is_gone_is_an_error_and_not_a_lost_letter() {
    let (folder, path) = absent_file();
    let sink = open(&path).await;
    folder.close().unwrap();
    let error = sink.put(&letter(1)).await.unwrap_err();
    let error = error.downcast::<eventhubs_dead_letters::Error>().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}
