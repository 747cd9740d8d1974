//! The benchmark still runs; how fast is nobody's business here.

use std::process::Command;

use serde_json::Value;

/// A smoke run with these arguments, as rows.
fn rows(arguments: &[&str]) -> Vec<Value> {
    rows_of("receive", arguments)
}

fn rows_of(what: &str, arguments: &[&str]) -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_eventhubs-bench"))
        .args([what, "--quick", "--json"])
        .args(arguments)
        .output()
        .expect("the benchmark starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    stdout.lines().map(|line| serde_json::from_str(line).expect("one object a row")).collect()
}

/// All that need nothing to be installed.
const OURS: &[&str] = &[
    "limit",
    "fe2o3",
    "partition-receiver",
    "receive",
    "receive-batch",
    "receive-policies",
    "receive-keyed",
    "receive-observed",
];

#[track_caller]
fn all_read(rows: &[Value]) {
    let readers: Vec<&str> = rows.iter().filter_map(|row| row["reader"].as_str()).collect();
    assert_eq!(readers, OURS);
    for row in rows {
        for number in ["events_per_s", "cpu_ns_per_event", "p99_us"] {
            assert!(row[number].as_f64().is_some_and(|number| number > 0.0), "{number} of {row}");
        }
        assert!(row["allocs_per_event"].is_number(), "{row}");
    }
}

#[test]
fn every_reader_of_ours_reads_one_partition() {
    all_read(&rows(&[]));
}

#[test]
fn every_reader_of_ours_reads_several_partitions_with_properties_over_tls() {
    all_read(&rows(&["--partitions", "3", "--tls", "--properties", "--body", "100"]));
}

#[test]
fn only_the_named_readers_run() {
    let rows = rows(&["--only", "receive-batch,limit"]);
    let readers: Vec<&str> = rows.iter().filter_map(|row| row["reader"].as_str()).collect();
    assert_eq!(readers, ["receive-batch", "limit"]);
}

#[test]
fn partitions_are_spread_over_several_connections() {
    let readers = "partition-receiver,receive-batch,limit";
    let rows = rows(&["--only", readers, "--partitions", "3", "--connections", "2"]);
    let readers: Vec<&str> = rows.iter().filter_map(|row| row["reader"].as_str()).collect();
    assert_eq!(readers, ["partition-receiver", "receive-batch"], "the limit has one connection");
    assert!(rows.iter().all(|row| row["connections"] == 2 && row["events_per_s"].as_f64() > Some(0.0)));
}

/// Memory is bounded whatever the machine does meanwhile, so that is more than a smoke test.
#[test]
fn slow_handlers_are_measured_and_stay_within_the_budget() {
    let rows = rows_of("slow", &[]);
    let (memory, neighbours): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row["what"] == "memory");
    assert_eq!(neighbours.len(), 6, "each reader without and with a slow partition");
    for row in neighbours {
        assert!(row["p99_us"].as_f64() > Some(0.0), "{row}");
    }
    assert_eq!(memory.len(), 3, "{rows:?}");
    for row in memory {
        let [unhandled, budget] =
            ["unhandled_mib", "budget_mib"].map(|number| row[number].as_f64().unwrap_or(-1.0));
        assert!(0.0 < unhandled && unhandled <= budget, "{row}");
    }
}

#[test]
fn idle_receivers_are_measured_on_one_and_on_several_connections() {
    let rows = rows_of("idle", &[]);
    let of: Vec<_> = rows.iter().map(|row| (row["reader"].as_str(), row["connections"].as_u64())).collect();
    let readers = [Some("receive"), Some("partition-receiver"), Some("fe2o3")];
    let expected = [1, 3].map(|connections| readers.map(|reader| (reader, Some(connections))));
    assert_eq!(of, expected.concat());
    assert!(rows.iter().all(|row| row["kib_per_receiver"].as_f64() > Some(0.0)), "{rows:?}");
}

#[test]
fn the_emulator_is_measured_with_and_without_a_folder() {
    let built = Command::new(env!("CARGO")).args(["build", "--quiet", "--package", "eventhubs-cli"]).status();
    assert!(built.expect("cargo starts").success());
    let rows = rows_of("emulator", &[]);
    let of = |what: &str| rows.iter().filter(|row| row["what"] == what).count();
    assert_eq!([of("traffic"), of("memory"), of("start_up")], [8, 2, 3], "{rows:?}");
    for row in rows.iter().filter(|row| row["what"] == "traffic") {
        assert!(row["cpu_ns_per_event"].as_f64().is_some_and(|number| number > 0.0), "{row}");
    }
}
