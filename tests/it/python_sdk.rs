//! The unmodified Python SDK believes that the emulator is Azure; each script lists what it checked.

use std::time::Duration;

use eventhubs_emulator::Emulator;
use eventhubs_test_harness::run_python;

const LIMIT: Duration = Duration::from_secs(180);

async fn all_checks_pass(script: &str, options: &[&str]) {
    let emulator = Emulator::builder().event_hub("orders", 8).start().await.expect("a loopback port");
    let connection_string = emulator.connection_string("orders");
    let arguments = [&[connection_string.as_str()], options].concat();
    let printed = run_python(script, &arguments, LIMIT).await;
    assert!(printed.contains(r#""passed": [""#), "{script} checked nothing:\n{printed}");
    emulator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sync_python_sdk_sends_receives_and_steals() {
    all_checks_pass("sdk_sync.py", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_aio_python_sdk_sends_receives_and_steals() {
    all_checks_pass("sdk_aio.py", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_aio_python_sdk_does_so_over_a_websocket() {
    all_checks_pass("sdk_aio.py", &["--websocket"]).await;
}
