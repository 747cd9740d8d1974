//! `cargo xtask ci`.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::shell::{Result, cargo, root, run, target};
use crate::system::Missing;
use crate::{image, test, tidy, tools};

type Step = fn() -> Result<()>;

const STEPS: &[(&str, Step)] = &[
    ("fmt", fmt),
    ("tidy", tidy::check),
    ("clippy", || run(&mut cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))),
    ("features", features),
    ("quickstart", quickstart),
    ("test", || test::all(&[], Missing::Install)),
    ("doc", || run(cargo(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))),
    ("deny", deny),
    ("package", package),
    ("install", install),
    ("image", image::check),
    ("newest dependencies", newest_dependencies),
    ("oldest rust", oldest_rust),
    ("next to sqlx", next_to_sqlx),
    ("next to opentelemetry", next_to_opentelemetry),
];

const CARGO_DENY: &str = "0.20.2";
const CARGO_HACK: &str = "0.6.45";

/// The crates that `cargo publish` refuses.
const NEVER_PUBLISHED: &[&str] = &[
    "eventhubs-bench",
    "eventhubs-examples",
    "eventhubs-examples-service",
    "eventhubs-examples-transactions",
    "eventhubs-test-harness",
    "eventhubs-tests",
    "xtask",
];

/// The crates that have features. The other steps switch all of them on, since dev-dependencies do.
const WITH_FEATURES: &[&str] = &[
    "eventhubs",
    "eventhubs-amqp",
    "eventhubs-azure-core",
    "eventhubs-checkpoint-store",
    "eventhubs-checkpoint-store-blob",
    "eventhubs-checkpoint-store-postgres",
    "eventhubs-checkpoint-store-sqlite",
    "eventhubs-dead-letters",
    "eventhubs-emulator",
];

/// Runs each step until one fails, or only the ones that are named.
pub(crate) fn check(wanted: &[&str]) -> Result<()> {
    if let Some(unknown) = wanted.iter().find(|wanted| !STEPS.iter().any(|(name, _)| name == *wanted)) {
        let names: Vec<_> = STEPS.iter().map(|(name, _)| *name).collect();
        return Err(format!("there is no step {unknown:?}, only: {}", names.join(", ")).into());
    }
    let mut steps = STEPS.iter().filter(|(name, _)| wanted.is_empty() || wanted.contains(name));
    timed("ci", || steps.try_for_each(|(name, step)| timed(name, step)))
}

#[expect(clippy::disallowed_methods, reason = "tells a person how long a step took; nothing depends on it")]
fn timed(name: &str, step: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("\n=== {name}");
    let started = Instant::now();
    let outcome = step();
    let verdict = if outcome.is_ok() { "ok" } else { "FAILED" };
    println!("=== {name}: {verdict}, {} s", started.elapsed().as_secs());
    outcome.map_err(|error| format!("{name}: {error}").into())
}

fn fmt() -> Result<()> {
    run(&mut cargo(["fmt", "--all", "--check"]))?;
    run(&mut cargo(["fmt", "--manifest-path", tools::RUST_SDK, "--check"]))
}

/// Each feature alone, none, and all.
fn features() -> Result<()> {
    let hack = tool("cargo-hack", CARGO_HACK)?;
    let packages = WITH_FEATURES.iter().flat_map(|name| ["--package", name]);
    // Called by its path: `cargo hack` would have to be in the PATH.
    run(Command::new(hack)
        .args(["hack", "clippy", "--each-feature", "--no-dev-deps"])
        .args(packages)
        .args(["--", "-D", "warnings"])
        .current_dir(root()))
}

/// README's first command, as a stranger runs it; it fails when an event was lost.
fn quickstart() -> Result<()> {
    run(&mut cargo(["run", "--release", "--example", "quickstart"]))
}

/// Advisories are not checked here: their database is not on a package registry, and changes without us.
fn deny() -> Result<()> {
    let deny = tool("cargo-deny", CARGO_DENY)?;
    run(Command::new(deny).args(["check", "bans", "licenses", "sources"]).current_dir(root()))
}

/// Advisories, for those who can reach the database; it is not part of CI, which may not.
pub(crate) fn audit() -> Result<()> {
    let deny = tool("cargo-deny", CARGO_DENY)?;
    run(Command::new(deny).args(["check", "advisories"]).current_dir(root()))
}

/// The path of a program from crates.io, installed below `target`.
fn tool(name: &str, version: &str) -> Result<PathBuf> {
    let tools = target()?.join("tools");
    let install = ["install", name, "--locked", "--debug", "--version", version];
    run(cargo(install).arg("--root").arg(&tools).arg("--target-dir").arg(tools.join("build")))?;
    Ok(tools.join("bin").join(name))
}

/// Packs what `cargo publish` would upload. It is not built from the packages: the steps before have built
/// the same files.
fn package() -> Result<()> {
    let unpublished = NEVER_PUBLISHED.iter().flat_map(|name| ["--exclude", name]);
    run(cargo(["package", "--workspace", "--no-verify", "--allow-dirty", "--quiet"]).args(unpublished))
}

/// The command line as `cargo install eventhubs-cli` builds it: from the packages of our crates, in place of
/// the registry.
fn install() -> Result<()> {
    let target = target()?;
    let unpacked = target.join("unpacked");
    if unpacked.exists() {
        fs::remove_dir_all(&unpacked)?;
    }
    fs::create_dir_all(&unpacked)?;
    let mut patches = Vec::new();
    for entry in fs::read_dir(target.join("package"))? {
        let path = entry?.path();
        let Some((name, version)) = package_name(&path) else { continue };
        if version != env!("CARGO_PKG_VERSION") || NEVER_PUBLISHED.contains(&name) {
            continue;
        }
        run(Command::new("tar").arg("-xzf").arg(&path).arg("-C").arg(&unpacked))?;
        let folder = unpacked.join(format!("{name}-{version}"));
        patches.push(format!("patch.crates-io.{name}.path={:?}", folder.display().to_string()));
    }
    let cli = unpacked.join(concat!("eventhubs-cli-", env!("CARGO_PKG_VERSION")));
    // Below the folder of a workspace that it does not belong to.
    OpenOptions::new().append(true).open(cli.join("Cargo.toml"))?.write_all(b"\n[workspace]\n")?;
    let patches = patches.iter().filter(|patch| !patch.contains("eventhubs-cli.path"));
    let root = unpacked.join("root");
    let mut install = cargo(["install", "--debug", "--quiet", "--path"]);
    install.arg(cli).arg("--root").arg(&root).args(patches.flat_map(|patch| ["--config", patch]));
    run(install.env("CARGO_TARGET_DIR", &target).current_dir(&unpacked))?;
    run(Command::new(root.join("bin/eventhubs")).arg("--version"))
}

/// Name and version of a packed crate.
fn package_name(path: &Path) -> Option<(&str, &str)> {
    path.file_name()?.to_str()?.strip_suffix(".crate")?.rsplit_once('-')
}

/// Our lock file protects only us: a user's build takes the newest versions that our manifests allow.
fn newest_dependencies() -> Result<()> {
    let target = target()?;
    let copy = target.join("newest");
    if copy.exists() {
        fs::remove_dir_all(&copy)?;
    }
    copy_tree(&root(), &copy, &target)?;
    run(cargo(["update"]).current_dir(&copy))?;
    let check = ["check", "--workspace", "--all-targets"];
    run(cargo(check).current_dir(&copy).env("CARGO_TARGET_DIR", &target))
}

/// The products build with the oldest Rust that they promise. `tidy` knows only what the dependencies state.
fn oldest_rust() -> Result<()> {
    let oldest = env!("CARGO_PKG_RUST_VERSION");
    run(Command::new("rustup").args(["toolchain", "install", oldest, "--profile", "minimal"]))?;
    let unpublished = NEVER_PUBLISHED.iter().flat_map(|name| ["--exclude", name]);
    let check = ["run", oldest, "cargo", "check", "--workspace"];
    run(Command::new("rustup").args(check).args(unpublished).current_dir(root()))
}

/// A program can link SQLite only once. So ours must build with the version that another crate of the program wants: cargo
/// finds none, or one for both.
fn next_to_sqlx() -> Result<()> {
    let sqlite = root().join("crates/eventhubs-checkpoint-store-sqlite");
    for version in ["0.8", "0.9"] {
        let probe = target()?.join(format!("next-to-sqlx-{version}"));
        fs::create_dir_all(probe.join("src"))?;
        fs::write(probe.join("src/lib.rs"), "")?;
        let manifest = format!(
            "[package]\nname = \"probe\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
             eventhubs-checkpoint-store-sqlite = {{ path = {:?} }}\n\
             sqlx = {{ version = \"{version}\", default-features = false, features = [\"sqlite\"] }}\n",
            sqlite.display().to_string()
        );
        fs::write(probe.join("Cargo.toml"), manifest)?;
        run(cargo(["check", "--package", "eventhubs-checkpoint-store-sqlite"]).current_dir(&probe))?;
    }
    Ok(())
}

/// Two minors of `opentelemetry` in one program are two sets of globals, and metrics vanish. So ours must be able to follow
/// the minor of the program: there is one copy, and its exporter gets the metrics.
fn next_to_opentelemetry() -> Result<()> {
    let built = target()?.join("next-to-opentelemetry");
    for version in ["0.30", "0.31", "0.32", "0.33"] {
        let probe = target()?.join(format!("next-to-opentelemetry-{version}"));
        fs::create_dir_all(probe.join("src"))?;
        fs::write(probe.join("src/main.rs"), include_str!("next_to_opentelemetry.rs"))?;
        let ours = |name: &str| root().join("crates").join(name).display().to_string();
        let manifest = format!(
            "[package]\nname = \"probe\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
             eventhubs = {{ path = {:?} }}\n\
             eventhubs-emulator = {{ path = {:?} }}\n\
             eventhubs-opentelemetry = {{ path = {:?} }}\n\
             opentelemetry = \"{version}\"\n\
             opentelemetry_sdk = {{ version = \"{version}\", features = [\"testing\"] }}\n\
             tokio = {{ version = \"1\", features = [\"macros\", \"rt-multi-thread\"] }}\n",
            ours("eventhubs"),
            ours("eventhubs-emulator"),
            ours("eventhubs-opentelemetry"),
        );
        fs::write(probe.join("Cargo.toml"), manifest)?;
        run(cargo(["generate-lockfile"]).current_dir(&probe))?;
        // Cargo takes the newest of a range, whatever the rest of the program has; README of the crate says what to do.
        let locked = versions_of("opentelemetry", &fs::read_to_string(probe.join("Cargo.lock"))?);
        let (wanted, others): (Vec<_>, Vec<_>) =
            locked.iter().partition(|locked| locked.starts_with(&format!("{version}.")));
        let [wanted] = &wanted[..] else { return Err(format!("no {version} in {locked:?}").into()) };
        for other in others {
            let other = format!("opentelemetry@{other}");
            run(cargo(["update", &other, "--precise", wanted]).current_dir(&probe))?;
        }
        // With two copies, this is an error that says so.
        run(cargo(["tree", "--invert", "opentelemetry", "--depth", "1"]).current_dir(&probe))?;
        let mut program = cargo(["run", "--quiet"]);
        program.current_dir(&probe).env("CARGO_TARGET_DIR", &built).env("CARGO_PROFILE_DEV_DEBUG", "0");
        run(&mut program)?;
    }
    // Nobody else uses what was built, and it is large.
    Ok(fs::remove_dir_all(built)?)
}

/// The versions of a package in a lock file.
fn versions_of(package: &str, lock: &str) -> Vec<String> {
    let name = format!("name = \"{package}\"\nversion = \"");
    let versions = lock.split(&name).skip(1);
    versions.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
}

fn copy_tree(from: &Path, to: &Path, target: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let copy = to.join(path.file_name().unwrap_or_default());
        let skip = path == target || path.ends_with(".git");
        if path.is_dir() && !skip {
            copy_tree(&path, &copy, target)?;
        } else if !skip {
            fs::copy(&path, copy)?;
        }
    }
    Ok(())
}
