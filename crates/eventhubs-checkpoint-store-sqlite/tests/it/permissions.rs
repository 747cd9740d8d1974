//! Files that this user may not read or write.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use eventhubs_checkpoint_store_sqlite::SqliteCheckpointStore;
use tempfile::TempDir;

use crate::{absent_file, open};

const PATH: &str = "EVENTHUBS_SQLITE_PATH";

/// A user who owns nothing: `nobody`.
const NOBODY: u32 = 65534;

/// What a user without any rights learns from opening the file. Runs this one test again as that user where
/// it is run by root, who may everything; `None` there.
fn said_to_others(test: &str, path: &Path, home: &TempDir) -> Option<String> {
    if let Some(path) = std::env::var_os(PATH) {
        let opened = tokio::runtime::Runtime::new().unwrap().block_on(SqliteCheckpointStore::open(&path));
        println!("said: {}", opened.map_or_else(|error| error.to_string(), |_| "opened".to_owned()));
        return None;
    }
    // The user may have no way to where the test program is.
    let program = home.path().join("program");
    // By `cp`: a process that another test forks meanwhile would inherit our open copy, which nobody can
    // execute.
    let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&program).status().unwrap();
    assert!(copied.success(), "cp: {copied}");
    let mut again = Command::new(program);
    again.args(["--exact", test, "--nocapture"]).env(PATH, path).current_dir("/");
    if fs::metadata(home.path()).unwrap().uid() == 0 {
        again.uid(NOBODY).gid(NOBODY);
    }
    let output = again.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let said = lines.lines().find_map(|line| line.split_once("said: ")).expect("the test has this name");
    Some(said.1.to_owned())
}

/// A store that was closed, in a folder that everybody may enter.
fn closed_store() -> (TempDir, PathBuf) {
    let (folder, path) = absent_file();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    drop(runtime.block_on(open(&path)));
    while path.with_extension("db-wal").exists() {
        std::thread::yield_now();
    }
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    (folder, path)
}

#[test]
fn a_file_that_may_not_be_read_is_unauthorized() {
    let (folder, path) = closed_store();
    fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
    let test = "permissions::a_file_that_may_not_be_read_is_unauthorized";
    let Some(said) = said_to_others(test, &path, &folder) else { return };
    assert!(said.starts_with("the store refused the credential: path: "), "{said}");
    assert!(said.contains("cannot be opened by this user"), "{said}");
}

#[test]
fn a_file_that_may_only_be_read_is_unauthorized() {
    let (folder, path) = closed_store();
    fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
    let test = "permissions::a_file_that_may_only_be_read_is_unauthorized";
    let Some(said) = said_to_others(test, &path, &folder) else { return };
    assert!(said.starts_with("the store refused the credential: open "), "{said}");
    assert!(said.contains("readonly"), "{said}");
}

#[test]
fn a_folder_that_may_not_be_entered_is_unauthorized() {
    let (folder, path) = closed_store();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    fs::rename(&path, inner.join("checkpoints.db")).unwrap();
    fs::set_permissions(&inner, Permissions::from_mode(0o000)).unwrap();
    let test = "permissions::a_folder_that_may_not_be_entered_is_unauthorized";
    let said = said_to_others(test, &inner.join("checkpoints.db"), &folder);
    fs::set_permissions(&inner, Permissions::from_mode(0o755)).unwrap();
    let Some(said) = said else { return };
    assert!(said.starts_with("the store refused the credential: path: "), "{said}");
}

#[test]
fn a_folder_where_no_file_can_be_created_says_so() {
    let (folder, _) = closed_store();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o555)).unwrap();
    let test = "permissions::a_folder_where_no_file_can_be_created_says_so";
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), Permissions::from_mode(0o755)).unwrap();
    let Some(said) = said_to_others(test, &folder.path().join("new.db"), &home) else { return };
    assert!(said.contains("does not exist and cannot be created"), "{said}");
}
