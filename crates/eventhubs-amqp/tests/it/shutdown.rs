use std::time::Duration;

use eventhubs_amqp::ErrorKind;
use eventhubs_types::StartingPosition;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

use crate::proxy::Proxy;
use crate::support::{
    builder, client, client_builder, emulator, open, receive, seeing, texts, until, within,
};

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

#[tokio::test]
async fn closing_a_receiver_detaches_it() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let receiver = open(&client, StartingPosition::Earliest).await;
    assert_eq!(emulator.receivers("orders").unwrap().len(), 1);
    within(receiver.close()).await.unwrap();
    assert_eq!(emulator.receivers("orders").unwrap(), []);
}

#[tokio::test]
async fn dropping_a_receiver_detaches_it_too() {
    let emulator = emulator().await;
    let client = client(&emulator);
    drop(open(&client, StartingPosition::Earliest).await);
    until(seeing("it is detached", || emulator.receivers("orders")), || {
        emulator.receivers("orders").unwrap().is_empty()
    })
    .await;
    open(&client, StartingPosition::Earliest).await;
}

#[tokio::test]
async fn a_closed_client_serves_no_more() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let mut receiver = open(&client, StartingPosition::Earliest).await;
    within(client.close()).await;
    assert_eq!(client.event_hub_properties().await.unwrap_err().kind(), ErrorKind::Closed);
    let error = within(receiver.receive_batch(1, None)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    until(seeing("the emulator knows", || emulator.receivers("orders")), || {
        emulator.receivers("orders").unwrap().is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_client_that_is_closed_while_it_connects_serves_nobody() {
    let emulator = emulator().await;
    let gate = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let [direct, by_gate] = [emulator.address(), gate.local_addr().unwrap()].map(|at| at.port().to_string());
    let client = client_builder(&emulator.connection_string("orders").replacen(&direct, &by_gate, 1));
    let client = client.build().unwrap();
    let opening = tokio::spawn({
        let client = client.clone();
        async move { builder(&client, StartingPosition::Earliest).open().await.map(drop) }
    });
    let (mut near, _) = within(gate.accept()).await.unwrap();
    within(client.close()).await;
    let mut far = TcpStream::connect(emulator.address()).await.unwrap();
    let passing = tokio::spawn(async move { copy_bidirectional(&mut near, &mut far).await });
    let opened = within(opening).await.unwrap();
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::Closed);
    let _ = within(passing).await.unwrap();
}

#[tokio::test]
async fn no_task_outlives_its_client() {
    let emulator = in_a_runtime_of_its_own(emulator()).await;
    emulator.publish_to("orders", "0", texts(0..100)).unwrap();
    let before = tasks();
    for graceful in [true, false] {
        let client = client(&emulator);
        let mut receiver = open(&client, StartingPosition::Earliest).await;
        receive(&mut receiver, 50).await;
        emulator.drop_connections();
        receive(&mut receiver, 50).await;
        client.event_hub_properties().await.unwrap();
        assert!(tasks() > before);
        if graceful {
            receiver.close().await.unwrap();
            client.close().await;
        } else {
            drop(receiver);
        }
        drop(client);
        until(seeing("all tasks ended", &tasks), || tasks() <= before).await;
    }
}

/// So that its tasks are not counted as ours.
async fn in_a_runtime_of_its_own<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    let (sender, output) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            assert!(sender.send(future.await).is_ok());
            std::future::pending::<()>().await;
        });
    });
    output.await.unwrap()
}

/// Amqp-crate §4: closing waits forever, and spins a core, if the peer does not answer.
#[tokio::test]
async fn closing_does_not_wait_for_a_service_that_is_silent() {
    let emulator = emulator().await;
    let proxy = Proxy::start(&emulator).await;
    let before = tasks();
    let client = client_builder(&proxy.connection_string(&emulator)).build().unwrap();
    let receiver = open(&client, StartingPosition::Earliest).await;
    proxy.go_silent();
    assert_eq!(within(receiver.close()).await.unwrap_err().kind(), ErrorKind::Timeout);
    within(client.close()).await;
    drop(client);
    drop(proxy);
    until(seeing("all tasks ended", &tasks), || tasks() <= before).await;
    tokio::time::timeout(Duration::from_secs(5), emulator.stop()).await.unwrap();
}

/// A client in a `static` outlives the runtime of the test, or of the program, that used it first.
#[test]
fn a_client_can_be_used_from_a_second_runtime() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (host, first, second) = (tokio::runtime::Runtime::new().unwrap(), runtime(), runtime());
    let emulator = host.block_on(emulator());
    let client = client(&emulator);
    first.block_on(async { within(client.event_hub_properties()).await.unwrap() });
    drop(first);
    second.block_on(async { within(client.event_hub_properties()).await.unwrap() });
}
