//! Each example runs and says what it is to say.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The program of an example, which cargo builds with the tests.
fn example(name: &str) -> PathBuf {
    let test = env::current_exe().expect("the path of this test");
    let target = test.ancestors().nth(2).expect("a profile's folder");
    target.join("examples").join(name).with_extension(env::consts::EXE_EXTENSION)
}

/// Runs an example to its end, and holds that it says these lines, in this order, among others.
fn says(name: &str, expected: &[&str]) {
    let output = Command::new(example(name)).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{name}: {said}{}", String::from_utf8_lossy(&output.stderr));
    let mut lines = said.lines();
    for line in expected {
        assert!(lines.any(|said| said == *line), "{name} does not say {line:?}: {said}");
    }
}

#[test]
fn receive_handles_each_event() {
    says("receive", &["handled 4 events"]);
}

#[test]
fn batches_come_with_their_last_number() {
    says("batches", &["handled 1000 events"]);
}

#[test]
fn two_instances_have_half_the_partitions_each() {
    says("instances", &["each instance reads 2 of 4 partitions"]);
}

#[test]
fn a_handler_type_keeps_its_state_over_all_partitions() {
    says("handler_type", &["the word `order` came 10 times"]);
}

#[test]
fn hooks_are_called_in_their_order() {
    let expected =
        ["partition 0 opened", "handled order 0", "partition 0 is idle", "partition 0 closed: Shutdown"];
    says("hooks", &expected);
}

#[test]
fn one_partition_is_read_from_a_number_to_its_end() {
    says("manual_partitions", &["#7: order 30", "#8: order 34", "#9: order 38", "read to the end"]);
}

#[test]
fn a_paused_partition_continues_after_the_resume() {
    says("pause_resume", &["order 0", "order 1", "paused", "resumed", "order 2", "order 3"]);
}

#[test]
fn a_bounded_run_ends_and_the_next_one_continues() {
    let first = ["the first run exports order 9", "the first run is complete: true, events: 10"];
    let second = ["the second run exports late order", "the second run is complete: true, events: 1"];
    says("bounded_run", &[&first[1..], &second].concat());
    says("bounded_run", &first);
}

#[test]
fn events_come_again_after_a_seek() {
    let before = ["#0: order 0", "#1: order 1", "#2: order 2", "closed: Sought"];
    let after = ["#1: order 1", "#2: order 2", "#3: order 3", "closed: Bounded"];
    says("seek", &[before, after].concat());
}

#[test]
fn an_event_that_cannot_be_read_is_a_dead_letter_with_its_reason() {
    let letter = "#2 is a dead letter: Poison, no retry can help: invalid digit found in string";
    says("dead_letters", &["handled order 0", "handled order 7", "handled 3, dead letters 1", letter]);
}

#[test]
fn orders_of_a_customer_are_in_order_and_others_at_once() {
    says("keyed_concurrency", &["the checkpoint is at #63"]);
}

#[test]
fn checkpoints_are_written_before_the_stop() {
    says("checkpoint_policy", &["the first run handled 1000 events", "the second run handled 0 events"]);
}

#[test]
fn a_store_of_ones_own_sees_each_checkpoint() {
    says("own_store", &["3 checkpoints were written"]);
}

#[test]
fn a_store_in_files_continues_where_it_was() {
    let first = ["the first run handled order 0", "the first run handled order 1"];
    let second = ["the second run handled late order 0", "the second run handled late order 1"];
    says("file_store", &[first, second].concat());
}

#[test]
fn what_was_sent_with_a_key_comes_in_order() {
    says("send_and_receive", &["2 cups of tea", "2 cups of coffee", "2 cups of mate"]);
}

#[cfg(unix)]
#[test]
fn a_service_stops_gracefully_on_sigterm() {
    let mut service =
        Command::new(example("graceful_shutdown")).stdout(Stdio::piped()).spawn().expect("it starts");
    let output = service.stdout.take().expect("its output was asked for");
    let mut lines = BufReader::new(output).lines().map(|line| line.expect("text"));
    for _ in 0..2 {
        let handled = lines.next().expect("an event is handled");
        assert!(handled.starts_with("handled order "), "{handled}");
    }
    let sent =
        Command::new("kill").args(["-s", "TERM", &service.id().to_string()]).status().expect("`kill` runs");
    assert!(sent.success());
    let said: Vec<_> = lines.collect();
    assert_eq!(said.iter().filter(|line| line.ends_with("closed: Shutdown")).count(), 2, "{said:?}");
    assert_eq!(said.last().map(String::as_str), Some("stopped"), "{said:?}");
    assert!(service.wait().expect("it ends").success());
}
