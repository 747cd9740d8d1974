//! What must never be exported: keys, what events hold, and what errors say.

use eventhubs::{EventData, FailurePolicy, GiveUp, StartingPosition, Until};
use eventhubs_emulator::Emulator;
use eventhubs_test_harness::{PATIENCE, within};

use crate::exported::{Exported, HUB};
use crate::metrics::Refused;

/// A part of every secret here.
pub(crate) const CANARY: &str = "canary";

const KEY: &str = "canary-c2VjcmV0LWtleS1ub2JvZHktbWF5LXNlZQ==";

async fn emulator() -> Emulator {
    Emulator::builder().event_hub(HUB, 1).shared_access_key("Listen", KEY).start().await.unwrap()
}

/// All that was exported of both kinds, as text.
fn everything(exported: &Exported) -> String {
    format!("{:?} {:?}", exported.metrics(), exported.spans(""))
}

#[tokio::test]
async fn no_secret_is_in_a_label_or_a_span() {
    within(PATIENCE, async {
        let (emulator, exported) = (emulator().await, Exported::new());
        let event = EventData::new("canary of a body").property("canary", "canary of a property");
        let event = event.message_id("canary-id").partition_key("canary-key");
        emulator.publish_to(HUB, "0", [event]).unwrap();
        let client = exported.client(&emulator);
        let receive = client.receive(|_, event| async move { Err(format!("{event:?} {KEY}").into()) });
        let policy = FailurePolicy::default().attempts(2).then(GiveUp::Skip);
        let receive = receive.starting_position(StartingPosition::Earliest).on_failure(policy);
        receive.until(Until::now()).await.unwrap();
        assert!(client.partition_properties(&"9".parse().unwrap()).await.is_err());
        let broken = exported.client_on(&emulator, Refused);
        assert!(broken.receive(|_, _| async { Ok(()) }).until(Until::now()).await.is_err());

        let all = everything(&exported);
        for kind in ["process orders", "get_partition_properties", "skipped", "unauthorized"] {
            assert!(all.contains(kind), "{kind} was exported: {all}");
        }
        assert!(!all.contains(CANARY), "{all}");
    })
    .await;
}
