//! The broker closes links, sessions and connections under load: no gap, no repeat (contract §5.4, §5.6).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventhubs::{ConsumerClient, RetryPolicy, StartingPosition};
use eventhubs_emulator::Emulator;
use eventhubs_test_harness::{PATIENCE, seeing, until, within};
use eventhubs_tests::HUB;
use tokio::sync::oneshot;

const EVENTS_A_FAULT: usize = 2_000;

type Handled = Arc<Mutex<BTreeMap<String, Vec<i64>>>>;

fn count(handled: &Handled) -> usize {
    handled.lock().unwrap().values().map(Vec::len).sum()
}

/// Reads with one instance while `fault` strikes again and again in the middle of the stream.
async fn no_gap_and_no_repeat(fault: impl AsyncFn(&Emulator)) {
    within(PATIENCE, async {
        let emulator = Emulator::builder().event_hub(HUB, 4).start().await.unwrap();
        let client = ConsumerClient::builder(emulator.connection_string(HUB), "$Default")
            .load_balancing_interval(Duration::from_millis(200))
            .retry(RetryPolicy::exponential(Duration::from_millis(50)))
            .build()
            .unwrap();
        let handled = Handled::default();
        let seen = Arc::clone(&handled);
        let (stop, stopped) = oneshot::channel::<()>();
        let receive = client
            .receive(move |context, event| {
                let partition = context.partition_id().to_string();
                seen.lock().unwrap().entry(partition).or_default().push(event.sequence_number().value());
                async { Ok(()) }
            })
            .starting_position(StartingPosition::Earliest)
            .with_graceful_shutdown(stopped);
        let receiving = tokio::spawn(receive.into_future());

        for round in 1..=5 {
            let half = count(&handled) + EVENTS_A_FAULT / 4;
            emulator.publish(HUB, (0..EVENTS_A_FAULT).map(|n| n.to_string())).unwrap();
            until(seeing(format!("{half} events handled"), || count(&handled)), || count(&handled) >= half)
                .await;
            fault(&emulator).await;
            let all = round * EVENTS_A_FAULT;
            until(seeing(format!("{all} events handled"), || count(&handled)), || count(&handled) >= all)
                .await;
        }
        stop.send(()).unwrap();
        receiving.await.unwrap().unwrap();

        let handled = handled.lock().unwrap();
        assert_eq!(handled.len(), 4);
        for (partition, numbers) in &*handled {
            let expected: Vec<_> = (0..i64::try_from(numbers.len()).unwrap()).collect();
            assert_eq!(*numbers, expected, "partition {partition}");
        }
        assert_eq!(handled.values().map(Vec::len).sum::<usize>(), 5 * EVENTS_A_FAULT);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detached_link_makes_no_gap_and_no_repeat() {
    no_gap_and_no_repeat(async |emulator| {
        emulator.detach_links(HUB, "amqp:link:detach-forced", "moved");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_session_makes_no_gap_and_no_repeat() {
    no_gap_and_no_repeat(async |emulator| {
        emulator.end_sessions(HUB, "amqp:internal-error", "ended");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_connection_makes_no_gap_and_no_repeat() {
    no_gap_and_no_repeat(async |emulator| {
        emulator.close_connections("amqp:connection:forced", "restart");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_connection_makes_no_gap_and_no_repeat() {
    no_gap_and_no_repeat(async |emulator| {
        emulator.drop_connections();
    })
    .await;
}
