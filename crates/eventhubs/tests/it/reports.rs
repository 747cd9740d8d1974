//! What a run says at its end that it has done.

use std::sync::{Arc, Mutex};

use eventhubs::store::async_trait;
use eventhubs::{
    BatchFailed, CheckpointPolicy, CloseReason, DeadLetter, DeadLetterSink, FailurePolicy, GiveUp,
    HandlerError, MemoryCheckpointStore, PartitionReport, ReceiveReport, SequenceNumber, StartingPosition,
};

use crate::support::{
    Seen, body, checkpointing, client, client_on, emulator, publish_to, restarting, start, within,
};

fn of<'a>(report: &'a ReceiveReport, partition: &str) -> &'a PartitionReport {
    &report.partitions[&partition.parse().unwrap()]
}

fn numbers(report: &PartitionReport) -> [Option<i64>; 3] {
    [report.first, report.last, report.checkpoint].map(|number| number.map(SequenceNumber::value))
}

#[tokio::test]
async fn a_report_says_what_was_handled_on_each_partition() {
    within(async {
        let emulator = emulator(2).await;
        publish_to(&emulator, "0", &["a", "b", "c"]);
        let store = Arc::new(MemoryCheckpointStore::new());
        let client = client_on(&emulator, Arc::clone(&store));
        let seen = Seen::default();
        let running = start(checkpointing(&client, &seen));
        seen.until_count(3).await;
        let report = running.stop().await;
        assert_eq!(numbers(of(&report, "0")), [Some(0), Some(2), Some(2)]);
        assert_eq!(of(&report, "0").closed, Some(CloseReason::Shutdown));
        assert_eq!((report.handled(), report.failed()), (3, 0));

        publish_to(&emulator, "0", &["d"]);
        let running = start(client.receive(crate::support::recording(&seen)));
        seen.until_contains("d").await;
        let report = running.stop().await;
        assert_eq!(
            numbers(of(&report, "0")),
            [Some(3), Some(3), Some(2)],
            "the checkpoint is of the run before"
        );
    })
    .await;
}

#[tokio::test]
async fn a_partition_that_is_read_again_after_a_failure_has_one_report() {
    within(async {
        let emulator = emulator(1).await;
        publish_to(&emulator, "0", &["a", "b"]);
        let seen = Seen::default();
        let log = seen.clone();
        let receive = client(&emulator).receive(move |_, event| {
            let tries = log.count();
            log.push(body(&event));
            async move { if tries == 1 { Err("the first call with b fails".into()) } else { Ok(()) } }
        });
        let receive = receive.starting_position(StartingPosition::Earliest).on_failure(restarting());
        let running = start(receive);
        seen.until_count(4).await;
        let report = running.stop().await;
        assert_eq!(seen.all(), ["a", "b", "a", "b"]);
        assert_eq!((report.handled(), report.failed()), (3, 1), "what comes twice counts twice");
        assert_eq!(numbers(of(&report, "0")), [Some(0), Some(1), None]);
    })
    .await;
}

#[derive(Debug, Clone, Default)]
struct Letters(Arc<Mutex<Vec<i64>>>);

#[async_trait]
impl DeadLetterSink for Letters {
    async fn put(&self, letter: &DeadLetter) -> Result<(), HandlerError> {
        self.0.lock().unwrap().push(letter.sequence_number().value());
        Ok(())
    }
}

/// Runs over five events, of which `bad` always fails, with one call per event, several at once, or batches.
async fn with_a_bad_event(calls: usize, policy: FailurePolicy) -> ReceiveReport {
    let emulator = emulator(1).await;
    publish_to(&emulator, "0", &["a", "b", "bad", "c", "d"]);
    let handle = |event: eventhubs::ReceivedEvent| async move {
        if body(&event) == "bad" { Err("it is bad".into()) } else { Ok(()) }
    };
    let client = client(&emulator);
    let policy = policy.attempts(2);
    let report = if calls == 0 {
        let receive = client.receive_batch(|_, events| async move {
            match events.iter().position(|event| body(event) == "bad") {
                Some(bad) => Err(BatchFailed::at(bad, "it is bad").into()),
                None => Ok(()),
            }
        });
        let receive = receive.starting_position(StartingPosition::Earliest).on_failure(policy);
        receive.checkpoint(CheckpointPolicy::each_batch()).until(eventhubs::Until::now()).await
    } else {
        let mut receive = client.receive(move |_, event| handle(event)).concurrency(calls);
        if calls > 1 {
            receive = receive.unordered();
        }
        let receive = receive.starting_position(StartingPosition::Earliest).on_failure(policy);
        receive.checkpoint(CheckpointPolicy::each_batch()).until(eventhubs::Until::now()).await
    };
    report.unwrap()
}

#[tokio::test]
async fn what_is_given_up_is_counted_however_events_are_called() {
    within(async {
        for calls in [0, 1, 3] {
            let skipping = FailurePolicy::default().then(GiveUp::Skip);
            let report = with_a_bad_event(calls, skipping).await;
            let counts = (report.handled(), report.failed(), report.skipped(), report.dead_lettered());
            assert_eq!(counts, (4, 2, 1, 0), "{calls}");
            assert_eq!(numbers(of(&report, "0")), [Some(0), Some(4), Some(4)], "{calls}");

            let letters = Letters::default();
            let dead_lettering = FailurePolicy::default().then(GiveUp::dead_letter(letters.clone()));
            let report = with_a_bad_event(calls, dead_lettering).await;
            let counts = (report.handled(), report.failed(), report.skipped(), report.dead_lettered());
            assert_eq!(counts, (4, 2, 0, 1), "{calls}");
            assert_eq!(*letters.0.lock().unwrap(), [2], "{calls}");
        }
    })
    .await;
}
