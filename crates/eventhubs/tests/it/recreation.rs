//! An event hub that is deleted and created again under a running consumer.

use eventhubs::{ErrorKind, StartingPosition};

use crate::support::{HUB, Seen, body, client, emulator, publish_to, recording_errors, start, within};

/// Without checkpoints: one from before would lie ahead of the new events (contract §8.9).
#[tokio::test]
async fn a_running_consumer_survives_that_its_hub_is_created_anew() {
    within(async {
        let emulator = emulator(4).await;
        let (seen, errors) = (Seen::default(), Seen::default());
        let (log, failed) = (seen.clone(), errors.clone());
        let client = client(&emulator);
        let receive = client
            .receive(move |context, event| {
                log.push(format!("{} on {}", body(&event), context.partition_id()));
                async { Ok(()) }
            })
            .on_error(recording_errors(&failed))
            .starting_position(StartingPosition::Earliest);
        let running = start(receive);
        for (partitions, word) in [(4, "first"), (2, "fewer"), (6, "more")] {
            if word != "first" {
                emulator.recreate_event_hub(HUB, partitions).unwrap();
            }
            for partition in 0..partitions {
                publish_to(&emulator, &partition.to_string(), &[word]);
            }
            for partition in 0..partitions {
                seen.until_contains(&format!("{word} on {partition}")).await;
            }
        }
        assert!(errors.contains(&format!("{:?}", ErrorKind::NotFound)), "{:?}", errors.all());
        running.stop().await;
    })
    .await;
}
