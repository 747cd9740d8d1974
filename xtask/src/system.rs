//! Programs that only the operating system's package manager has: finds out which are missing, and installs
//! them where it may.
//!
//! What a package registry has is installed below `target` instead; see `tools.rs`.

use std::process::{Command, Stdio};

use crate::shell::{Result, run};

/// A program that the tests need of the system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    name: &'static str,
    why: &'static str,
    /// A command that succeeds where the program is usable.
    probe: &'static [&'static str],
    /// What Debian and Ubuntu call it.
    packages: &'static [&'static str],
}

// An xtask that runs has been linked, but maybe not by `cc`, which pip calls.
const COMPILER: Program = Program {
    name: "a C compiler",
    why: "Qpid Proton for Python is compiled",
    probe: &["cc", "--version"],
    packages: &["gcc", "libc6-dev"],
};
const NODE: Program = Program {
    name: "Node.js 20 or newer",
    why: "Azurite and the clients in JavaScript run in it",
    probe: &["node", "--version"],
    packages: &["nodejs"],
};
const NPM: Program = Program {
    name: "npm",
    why: "it installs Azurite and the clients in JavaScript",
    probe: &["npm", "--version"],
    packages: &["npm"],
};
const PYTHON: Program = Program {
    name: "Python 3.10 or newer with venv",
    why: "the clients in Python run in it",
    probe: &["python3", "-c", "import venv, ensurepip"],
    packages: &["python3", "python3-venv"],
};
const PYTHON_HEADERS: Program = Program {
    name: "Python's headers",
    why: "Qpid Proton for Python is compiled against them",
    probe: &["python3", "-c", "import os, sysconfig; os.stat(sysconfig.get_path('include') + '/Python.h')"],
    packages: &["python3-dev"],
};
const BROWSER: Program = Program {
    name: "Chromium",
    why: "the emulator's page is tested in it",
    probe: &["chromium", "--version"],
    packages: &["chromium"],
};
const BROWSER_DRIVER: Program = Program {
    name: "ChromeDriver",
    why: "it drives Chromium",
    probe: &["chromedriver", "--version"],
    packages: &["chromium-driver"],
};
// Debian keeps the server out of the path, in a folder for each version.
const POSTGRESQL: Program = Program {
    name: "PostgreSQL",
    why: "the PostgreSQL store is tested against it",
    probe: &[
        "sh",
        "-c",
        "ls /usr/lib/postgresql/*/bin/postgres || test -x \"$(pg_config --bindir)/postgres\"",
    ],
    packages: &["postgresql"],
};
const PGBOUNCER: Program = Program {
    name: "PgBouncer",
    why: "the PostgreSQL store is tested behind it",
    probe: &["pgbouncer", "--version"],
    packages: &["pgbouncer"],
};
const REDIS: Program = Program {
    name: "Redis 7 or newer",
    why: "the Redis store is tested on it",
    probe: &["sh", "-c", "redis-server --version | grep -Eq 'v=([7-9]|[1-9][0-9])[.]'"],
    packages: &["redis-server"],
};

const PROMTOOL: Program = Program {
    name: "promtool",
    why: "it checks the metrics and the alert rules",
    probe: &["promtool", "--version"],
    packages: &["prometheus"],
};

/// What the clients in other languages need, in tests and in the benchmark.
pub(crate) const FOR_CLIENTS: &[Program] = &[COMPILER, NODE, NPM, PYTHON, PYTHON_HEADERS];
/// What only the tests of checkpoint stores need.
pub(crate) const FOR_STORES: &[Program] = &[POSTGRESQL, PGBOUNCER, REDIS];
/// What only the tests of metrics need.
pub(crate) const FOR_METRICS: &[Program] = &[PROMTOOL];
/// What only the tests of the page need.
pub(crate) const FOR_PAGE: &[Program] = &[BROWSER, BROWSER_DRIVER];

/// Whether a missing program may be installed into the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Install,
    Refuse,
}

/// Makes sure that the programs are there.
///
/// # Errors
/// A program is missing and cannot be installed here; the text has one command that installs all of them.
pub(crate) fn ensure<'a>(programs: impl IntoIterator<Item = &'a Program>, missing: Missing) -> Result<()> {
    let absent: Vec<&Program> = programs.into_iter().filter(|program| !succeeds(program.probe)).collect();
    if absent.is_empty() {
        return Ok(());
    }
    println!("missing on this system:\n{}", described(&absent));
    let prefix = match missing {
        Missing::Install => privileged(),
        Missing::Refuse => None,
    };
    let Some(prefix) = prefix else { return Err(how_to_install(&absent).into()) };
    for command in apt_get(prefix, &absent) {
        run(Command::new(command[0]).args(&command[1..]))?;
    }
    match absent.iter().find(|program| !succeeds(program.probe)) {
        None => Ok(()),
        Some(program) => Err(format!("{} was installed and still does not run", program.name).into()),
    }
}

/// What goes before a command so that it may install packages; `None` where this process may not.
fn privileged() -> Option<&'static [&'static str]> {
    const AS_ROOT: &[&str] = &["env"];
    const BY_SUDO: &[&str] = &["sudo", "-n", "env"]; // -n: never asks for a password
    let is_root = || succeeds(&["sh", "-c", "test \"$(id -u)\" = 0"]);
    if !succeeds(&["apt-get", "--version"]) {
        None
    } else if is_root() {
        Some(AS_ROOT)
    } else {
        succeeds(&[BY_SUDO, &["true"]].concat()).then_some(BY_SUDO)
    }
}

fn apt_get(prefix: &[&'static str], absent: &[&Program]) -> [Vec<&'static str>; 2] {
    let quiet = ["DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"];
    let update = [prefix, &quiet, &["update"]].concat();
    let install = [prefix, &quiet, &["install", "-y"], &packages(absent)].concat();
    [update, install]
}

fn how_to_install(absent: &[&Program]) -> String {
    format!(
        "programs are missing; on Debian and Ubuntu this installs all of them:\n  \
         sudo apt-get update && sudo apt-get install -y {}",
        packages(absent).join(" ")
    )
}

fn packages(absent: &[&Program]) -> Vec<&'static str> {
    absent.iter().flat_map(|program| program.packages).copied().collect()
}

fn described(absent: &[&Program]) -> String {
    let lines = absent.iter().map(|program| format!("  {}: {}", program.name, program.why));
    lines.collect::<Vec<_>>().join("\n")
}

fn succeeds(command: &[&str]) -> bool {
    let mut run = Command::new(command[0]);
    run.args(&command[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    run.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABSENT: Program = Program {
        name: "Nothing",
        why: "no system has it",
        probe: &["no-such-program-here"],
        packages: &["nothing", "nothing-dev"],
    };

    #[test]
    fn where_nothing_may_be_installed_one_command_names_all_that_is_missing() {
        let error = ensure([&ABSENT, &ABSENT], Missing::Refuse).expect_err("it is missing").to_string();
        let command = "sudo apt-get install -y nothing nothing-dev nothing nothing-dev";
        assert!(error.ends_with(command), "{error}");
    }

    #[test]
    fn a_system_that_has_everything_is_left_alone() {
        let present = Program { probe: &["true"], ..ABSENT };
        ensure([&present], Missing::Refuse).expect("nothing is missing");
    }

    #[test]
    fn a_program_whose_probe_fails_counts_as_missing() {
        let fails = Program { probe: &["false"], ..ABSENT };
        ensure([&fails], Missing::Refuse).expect_err("the probe failed");
    }

    #[test]
    fn packages_are_installed_without_a_question() {
        let [update, install] =
            apt_get(&["sudo", "-n", "env"], &[&BROWSER, &BROWSER_DRIVER]).map(|c| c.join(" "));
        assert_eq!(update, "sudo -n env DEBIAN_FRONTEND=noninteractive apt-get -qq update");
        assert_eq!(
            install,
            "sudo -n env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y chromium chromium-driver"
        );
    }

    #[test]
    fn what_is_missing_is_named_with_the_reason() {
        assert_eq!(described(&[&BROWSER]), "  Chromium: the emulator's page is tested in it");
    }
}
