//! The store goes away for a while: reading goes on, checkpoints tell their caller, all recovers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use eventhubs::{ConsumerClient, ErrorKind, StartingPosition};
use eventhubs_test_harness::within;
use eventhubs_tests::{HUB, PATIENCE, World, until};
use tokio::sync::oneshot;

#[derive(Default)]
struct Counts {
    handled: AtomicUsize,
    checkpoints: AtomicUsize,
    failed_checkpoints: AtomicUsize,
}

impl Counts {
    fn add(count: &AtomicUsize) {
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn get(count: &AtomicUsize) -> usize {
        count.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_goes_on_while_the_store_is_down_and_all_recovers() {
    within(PATIENCE, async {
        let mut world = World::persistent(4).await;
        let client =
            ConsumerClient::from_connection_string(world.emulator.connection_string(HUB), "$Default")
                .unwrap()
                .checkpoint_store(world.store())
                .load_balancing_interval(Duration::from_millis(500))
                .build()
                .unwrap();
        let counts = Arc::new(Counts::default());
        let seen = Arc::clone(&counts);
        let (stop, stopped) = oneshot::channel::<()>();
        let receive = client
            .receive(move |context, event| {
                let seen = Arc::clone(&seen);
                async move {
                    Counts::add(&seen.handled);
                    match context.update_checkpoint(&event).await {
                        Ok(()) => Counts::add(&seen.checkpoints),
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Store, "{error:?}");
                            assert!(error.is_transient(), "{error:?}");
                            Counts::add(&seen.failed_checkpoints);
                        }
                    }
                    Ok(())
                }
            })
            .starting_position(StartingPosition::Earliest)
            .with_graceful_shutdown(stopped);
        let receiving = tokio::spawn(receive.into_future());

        world.publish(40);
        until(|| Counts::get(&counts.checkpoints) >= 40).await;

        world.azurite.stop().await;
        world.publish(40);
        until(|| Counts::get(&counts.handled) >= 80).await;
        until(|| Counts::get(&counts.failed_checkpoints) >= 40).await;

        world.azurite.restart_on_same_port().await;
        let recovered = Counts::get(&counts.checkpoints) + 40;
        world.publish(40);
        until(|| Counts::get(&counts.checkpoints) >= recovered).await;
        assert_eq!(Counts::get(&counts.handled), 120, "no partition was given up, so nothing came twice");
        assert!(!receiving.is_finished(), "the client goes on");

        stop.send(()).unwrap();
        receiving.await.unwrap().unwrap();
        assert!(world.owners().await.is_empty(), "it could release what it had");
    })
    .await;
}
