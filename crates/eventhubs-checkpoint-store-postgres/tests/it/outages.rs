//! A server that dies under its clients.

use eventhubs_checkpoint_store::{CheckpointStore as _, ClaimOutcome, Expected};
use eventhubs_test_harness::{PATIENCE, Postgres, within};

use crate::{claim, scope, store_at, version_of, won};

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_server_is_transient_and_heals() {
    let mut server = Postgres::start().await;
    let database = server.create_database();
    let store = store_at(server.port(), &database);
    let mut record = won(&store, &claim("0", Some("a"), Expected::Absent)).await;
    let renewing = {
        let store = store.clone();
        tokio::spawn(async move {
            let (mut failures, mut renewals_after) = (0, 0);
            while renewals_after < 10 {
                match store.claim_ownership(&scope(), &claim("0", Some("a"), version_of(&record))).await {
                    ClaimOutcome::Won(renewed) => {
                        record = renewed;
                        renewals_after += u32::from(failures > 0);
                    }
                    ClaimOutcome::Failed(error) => {
                        assert!(error.is_transient(), "{error}");
                        failures += 1;
                        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    }
                    // The answer to a claim that was applied is lost.
                    ClaimOutcome::Lost => match store.list_ownership(&scope()).await {
                        Ok(list) => record = list.records[0].clone(),
                        Err(error) => assert!(error.is_transient(), "{error}"),
                    },
                    other => panic!("{other:?}"),
                }
            }
            record
        })
    };
    server.restart_immediately().await;
    let last = within(PATIENCE, renewing).await.unwrap();
    assert_eq!(store.list_ownership(&scope()).await.unwrap().records, [last]);
}
