//! The benchmark still runs; how fast is nobody's business here.

use std::process::Command;

use serde_json::Value;

/// A smoke run with these arguments, as rows.
fn rows(arguments: &[&str]) -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_eventhubs-bench"))
        .args(["receive", "--quick", "--json"])
        .args(arguments)
        .output()
        .expect("the benchmark starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    stdout.lines().map(|line| serde_json::from_str(line).expect("one object a row")).collect()
}

#[track_caller]
fn all_read(rows: &[Value]) {
    let readers: Vec<&str> = rows.iter().filter_map(|row| row["reader"].as_str()).collect();
    assert_eq!(readers, ["limit", "fe2o3", "partition-receiver", "receive", "receive-batch"]);
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
fn the_emulator_is_measured_with_and_without_a_folder() {
    let built = Command::new(env!("CARGO")).args(["build", "--quiet", "--package", "eventhubs-cli"]).status();
    assert!(built.expect("cargo starts").success());
    let output = Command::new(env!("CARGO_BIN_EXE_eventhubs-bench"))
        .args(["emulator", "--quick", "--json"])
        .output()
        .expect("the benchmark starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    let rows: Vec<Value> =
        stdout.lines().map(|line| serde_json::from_str(line).expect("one object a row")).collect();
    let of = |what: &str| rows.iter().filter(|row| row["what"] == what).count();
    assert_eq!([of("traffic"), of("memory"), of("start_up")], [8, 2, 3], "{stdout}");
    for row in rows.iter().filter(|row| row["what"] == "traffic") {
        assert!(row["cpu_ns_per_event"].as_f64().is_some_and(|number| number > 0.0), "{row}");
    }
}
