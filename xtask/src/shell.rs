//! Runs other programs, says so, and names a missing one.

use std::env;
use std::error::Error;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cargo_metadata::MetadataCommand;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().expect("xtask is a folder of the workspace").to_owned()
}

/// Where cargo builds, as the user configured it.
pub(crate) fn target() -> Result<PathBuf> {
    let metadata = MetadataCommand::new().current_dir(root()).no_deps().exec()?;
    Ok(metadata.target_directory.into_std_path_buf())
}

/// A command of the cargo that runs us, in the workspace's folder.
pub(crate) fn cargo<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Runs the command with our terminal; anything but success is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    println!("$ {line}");
    let status = command.status().map_err(|error| format!("cannot run `{line}`: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{line}`: {status}").into()) }
}

/// What the command prints; anything but success is an error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("cannot run `{line}`: {error}"))?;
    if !output.status.success() {
        return Err(format!("`{line}`: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// An error that names the program and how to get it, if `program probe` does not run.
pub(crate) fn require(program: &str, probe: &[&str], how_to_get: &str) -> Result<()> {
    let found = Command::new(program).args(probe).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match found {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{program} {}`: {status}; {how_to_get}", probe.join(" ")).into()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(format!("`{program}` is not installed; {how_to_get}").into())
        }
        Err(error) => Err(format!("cannot run `{program}`: {error}").into()),
    }
}

fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words: Vec<_> = [program].into_iter().chain(command.get_args()).map(OsStr::to_string_lossy).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_is_an_error_that_names_it() {
        let error = run(&mut cargo(["no-such-command-here"])).expect_err("cargo refuses an unknown command");
        assert!(error.to_string().contains("cargo no-such-command-here"), "{error}");
    }

    #[test]
    fn a_missing_program_is_named_with_the_way_to_get_it() {
        let error = require("no-such-program-here", &[], "ask its author").expect_err("it does not exist");
        assert_eq!(error.to_string(), "`no-such-program-here` is not installed; ask its author");
    }

    #[test]
    fn a_program_whose_probe_fails_counts_as_missing() {
        let error =
            require("cargo", &["no-such-command-here"], "ask its author").expect_err("the probe fails");
        assert!(error.to_string().ends_with("ask its author"), "{error}");
    }
}
