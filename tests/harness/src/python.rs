//! Runs the programs in `tests/python` with the packages that `cargo xtask test` installs.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::interpreter;

/// Runs `tests/python/<script>` until it ends well; returns what it printed.
///
/// # Panics
/// If the packages are not installed, and, with all that the script printed, if it fails or takes longer than
/// `limit`.
///
/// # Cancel safety
/// The script is killed.
pub async fn run_python(script: &str, arguments: &[&str], limit: Duration) -> String {
    let mut file = tempfile::tempfile().expect("a temporary file");
    let verdict = run(script, arguments, limit, &file).await;
    let printed = contents(&mut file).expect("a readable temporary file");
    match verdict {
        Ok(()) => printed,
        Err(verdict) => panic!("{script} {verdict}; it printed:\n{printed}"),
    }
}

async fn run(script: &str, arguments: &[&str], limit: Duration, printed: &File) -> Result<(), String> {
    let output = || printed.try_clone().map(Stdio::from).expect("a second handle of an open file");
    let mut child = Command::new(interpreter())
        .arg("-u")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../python").join(script))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output())
        .stderr(output())
        .kill_on_drop(true)
        .spawn()
        .expect("an interpreter that starts");
    match timeout(limit, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("failed with {status}")),
        Ok(Err(error)) => Err(format!("cannot be waited for: {error}")),
        Err(_) => Err(format!("took longer than {limit:?}")),
    }
}

fn contents(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn what_a_script_printed_is_returned() {
        assert_eq!(run_python("selftest.py", &["pass"], LIMIT).await, "out\n");
    }

    #[tokio::test]
    #[should_panic(expected = "selftest.py failed with exit status: 3; it printed:\nout\nerr\n")]
    async fn a_script_that_fails_panics_with_what_it_printed() {
        run_python("selftest.py", &["fail"], LIMIT).await;
    }

    #[tokio::test]
    #[should_panic(expected = "selftest.py took longer than 2s; it printed:\n")]
    async fn a_script_that_hangs_is_killed() {
        run_python("selftest.py", &["hang"], Duration::from_secs(2)).await;
    }
}
