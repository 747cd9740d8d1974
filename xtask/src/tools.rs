//! The foreign programs that the tests talk to and the benchmark compares with, each pinned by a file of the
//! repository.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::{Result, cargo, root, run};
use crate::system::{self, Missing};

/// Microsoft's Rust SDK with what the tests and the benchmark do with it; a workspace of its own.
pub(crate) const RUST_SDK: &str = "tests/witnesses/rust/Cargo.toml";

/// Installs each program below `target`, unless the version that the repository pins is there.
pub(crate) fn install(target: &Path, missing: Missing) -> Result<()> {
    let programs = system::FOR_CLIENTS.iter().chain(system::FOR_STORES).chain(system::FOR_METRICS);
    system::ensure(programs.chain(system::FOR_PAGE), missing)?;
    npm("Azurite", "tests/azurite", &target.join("azurite"), "azurite/dist/src/blob/main.js")?;
    python(target)?;
    javascript(target)?;
    rust_sdk(target, &["--bin", "eventhubs-witness"])
}

/// Installs what the benchmark compares with.
pub(crate) fn install_compared(target: &Path) -> Result<()> {
    system::ensure(system::FOR_CLIENTS, Missing::Install)?;
    python(target)?;
    javascript(target)?;
    rust_sdk(target, &["--release", "--bin", "receive"])
}

fn javascript(target: &Path) -> Result<()> {
    npm(
        "the clients in JavaScript",
        "tests/witnesses/js",
        &target.join("js"),
        "@azure/event-hubs/package.json",
    )
}

/// Cargo itself knows what is built already.
fn rust_sdk(target: &Path, what: &[&str]) -> Result<()> {
    let build = ["build", "--locked", "--quiet", "--manifest-path", RUST_SDK, "--target-dir"];
    run(cargo(build).arg(target.join("witness")).args(what))
}

/// Installs what the lock file in `pins` names; `proof` is a file of it.
fn npm(name: &str, pins: &str, home: &Path, proof: &str) -> Result<()> {
    let pins = ["package.json", "package-lock.json"].map(|file| root().join(pins).join(file));
    once(name, home, &pins, &home.join("node_modules").join(proof), || {
        for pin in &pins {
            fs::copy(pin, home.join(pin.file_name().unwrap_or_default()))?;
        }
        run(Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(home))
    })
}

fn python(target: &Path) -> Result<()> {
    let pins = [root().join("tests/python/requirements.txt")];
    let home = target.join("python");
    let python = home.join("bin/python");
    once("the clients in Python", &home, &pins, &python, || {
        run(Command::new("python3").args(["-m", "venv"]).arg(&home))?;
        let pip =
            ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement"];
        run(Command::new(&python).args(pip).args(&pins))?;
        run(Command::new(&python).args(["-m", "pip", "check"]))
    })
}

/// Runs `install` in an empty `home`, unless it ended well there before with the same `pins`.
fn once(
    name: &str,
    home: &Path,
    pins: &[PathBuf],
    proof: &Path,
    install: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let wanted: String = pins.iter().map(fs::read_to_string).collect::<std::io::Result<_>>()?;
    let stamp = home.join("installed");
    if proof.exists() && fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        println!("{name}: installed in {}", home.display());
        return Ok(());
    }
    println!("{name}: installing into {}", home.display());
    if home.exists() {
        fs::remove_dir_all(home)?;
    }
    fs::create_dir_all(home)?;
    install()?;
    if !proof.exists() {
        return Err(format!("{name}: the install ended well but left no {}", proof.display()).into());
    }
    Ok(fs::write(stamp, wanted)?)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    struct Folder {
        temporary: tempfile::TempDir,
        installs: Cell<u32>,
    }

    impl Folder {
        fn with_pin(pin: &str) -> Self {
            let folder = Self { temporary: tempfile::tempdir().expect("a folder"), installs: Cell::new(0) };
            folder.pin(pin);
            folder
        }

        fn pin(&self, pin: &str) {
            fs::write(self.temporary.path().join("pin"), pin).expect("written");
        }

        fn once(&self, install: impl Fn(&Path) -> Result<()>) -> Result<()> {
            let home = self.temporary.path().join("home");
            let proof = home.join("program");
            once("a program", &home, &[self.temporary.path().join("pin")], &proof, || {
                self.installs.set(self.installs.get() + 1);
                install(&proof)
            })
        }
    }

    fn works(proof: &Path) -> Result<()> {
        Ok(fs::write(proof, "")?)
    }

    #[test]
    fn an_installed_program_is_installed_again_only_when_its_pin_changes() {
        let folder = Folder::with_pin("1.0");
        folder.once(works).expect("installed");
        folder.once(works).expect("there already");
        assert_eq!(folder.installs.get(), 1);
        folder.pin("1.1");
        folder.once(works).expect("installed");
        assert_eq!(folder.installs.get(), 2);
    }

    #[test]
    fn an_install_that_broke_off_is_started_again() {
        let folder = Folder::with_pin("1.0");
        let breaks_off = |proof: &Path| works(proof).and(Err("no network".into()));
        assert_eq!(folder.once(breaks_off).expect_err("it broke off").to_string(), "no network");
        folder.once(works).expect("installed");
        assert_eq!(folder.installs.get(), 2);
    }

    #[test]
    fn an_install_that_leaves_no_program_is_an_error() {
        let error = Folder::with_pin("1.0").once(|_| Ok(())).expect_err("nothing was installed");
        assert!(error.to_string().contains("left no"), "{error}");
    }
}
