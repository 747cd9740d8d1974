//! The command line of the simulator, run by `cargo xtask simulate`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tells on the terminal what it does"
)]

mod arguments;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use arguments::Arguments;
use eventhubs_simulator::{Kind, Outcome, Report, Scenario, catalog, simulate_all, table};

/// From this heading on a report is written by hand, and stays as it is.
const BY_HAND: &str = "\n## What takes longer\n";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The modelled SDKs are compared at this size: some of them need hours of real time at the full one.
const PEERS_SIZE: (usize, usize) = (100, 200);

/// And with so many seeds.
const PEERS_SEEDS: u64 = 3;

/// And for an hour at most.
const PEERS_LONGEST_S: f64 = 3_600.0;

fn main() -> ExitCode {
    let outcome = Arguments::parse(std::env::args().skip(1)).and_then(|arguments| run(&arguments));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Says whether all properties hold.
fn run(arguments: &Arguments) -> Result<bool> {
    if arguments.help {
        print!("{}", include_str!("help.txt"));
        return Ok(true);
    }
    let scenarios = scenarios(arguments)?;
    if arguments.list {
        for scenario in &scenarios {
            println!("{:<24} {}", scenario.name, scenario.about);
        }
        return Ok(true);
    }
    let outcomes = play(arguments, &scenarios);
    if let Some(path) = &arguments.report {
        let peers = play_peers(arguments, &scenarios)?;
        let by_hand = by_hand(path);
        fs::write(path, format!("{}{by_hand}", Report::new(&scenarios, &outcomes, &peers)))?;
    }
    Ok(outcomes.iter().all(|outcome| outcome.violations.is_empty()))
}

/// What stands below the heading in the report before, if there is one.
fn by_hand(path: &str) -> String {
    let before = fs::read_to_string(path).unwrap_or_default();
    before.find(BY_HAND).map_or_else(String::new, |begin| before[begin..].to_owned())
}

fn scenarios(arguments: &Arguments) -> Result<Vec<Scenario>> {
    let chosen = match arguments.scenario.as_deref() {
        None => catalog(),
        Some(path) if Path::new(path).extension().is_some_and(|extension| extension == "toml") => {
            vec![Scenario::parse(&fs::read_to_string(path)?)?]
        }
        Some(name) => {
            let named = catalog().into_iter().find(|scenario| scenario.name == name);
            vec![named.ok_or_else(|| format!("no scenario is called `{name}`; --list names them"))?]
        }
    };
    let adapted = chosen.into_iter().map(|scenario| adapt(arguments, scenario));
    adapted.collect()
}

fn adapt(arguments: &Arguments, scenario: Scenario) -> Result<Scenario> {
    let instances = arguments.instances.unwrap_or(scenario.instances);
    let partitions = arguments.partitions.unwrap_or(scenario.partitions);
    let scenario = scenario.with_size(instances, partitions)?;
    Ok(match &arguments.fleet {
        Some(fleet) => scenario.with_fleet(fleet.clone())?,
        None => scenario,
    })
}

fn play(arguments: &Arguments, scenarios: &[Scenario]) -> Vec<Outcome> {
    let seeds = arguments.seed..=arguments.last_seed();
    let with_seeds =
        |scenario: &Scenario| seeds.clone().map(|seed| (scenario.clone(), seed)).collect::<Vec<_>>();
    let runs: Vec<_> = scenarios.iter().flat_map(with_seeds).collect();
    if !arguments.json {
        println!("{}", table::HEADER);
    }
    simulate_all(&runs, arguments.threads, |outcome| tell(arguments.json, outcome))
}

fn tell(as_json: bool, outcome: &Outcome) {
    if as_json {
        let row = serde_json::to_string(&outcome.row()).expect("numbers and names are JSON");
        println!("{row}");
    } else {
        println!("{}", table::line(outcome));
    }
    for violation in &outcome.violations {
        eprintln!("BROKEN {violation}");
    }
    if !outcome.violations.is_empty() {
        eprintln!("replay: {}", outcome.replay());
    }
}

/// Each kind of balancer in a fleet of its own, in all scenarios that name none.
fn play_peers(arguments: &Arguments, scenarios: &[Scenario]) -> Result<Vec<(Kind, Outcome)>> {
    let (instances, partitions) = PEERS_SIZE;
    let (mut kinds, mut runs) = (Vec::new(), Vec::new());
    for scenario in scenarios.iter().filter(|scenario| scenario.fleet == [Kind::Ours]) {
        for kind in Kind::ALL {
            for seed in (arguments.seed..).take(usize::try_from(PEERS_SEEDS)?) {
                let mut scenario = scenario.clone().with_size(instances, partitions)?;
                scenario.duration_s = scenario.duration_s.min(PEERS_LONGEST_S);
                runs.push((scenario.with_fleet(vec![kind])?, seed));
                kinds.push(kind);
            }
        }
    }
    let outcomes = simulate_all(&runs, arguments.threads, |_| {});
    Ok(kinds.into_iter().zip(outcomes).collect())
}
