use eventhubs_emulator::{Emulator, ErrorKind};
use eventhubs_test_harness::{seeing, until};
use eventhubs_types::{EventData, Value};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{Client, Reading, orders, within};

#[tokio::test]
async fn the_connection_string_names_the_hub_and_the_port() {
    let emulator = orders().await;
    let port = emulator.address().port();
    let expected = format!(
        "Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=SAS_KEY_VALUE;\
         UseDevelopmentEmulator=true;EntityPath=orders"
    );
    assert_eq!(emulator.connection_string("orders"), expected);
    assert!(emulator.address().ip().is_loopback());
}

#[tokio::test]
async fn stop_closes_all_connections_and_the_port() {
    let emulator = orders().await;
    let address = emulator.address();
    let mut client = Client::connect(&emulator).await;
    let _receiver = client.read("0", Reading::default()).await.unwrap();
    within(emulator.stop()).await;
    let end = within(client.connection.on_close()).await;
    assert!(format!("{end:?}").contains("ConnectionForced"), "{end:?}");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_dropped_emulator_leaves_nothing_running() {
    let emulator = orders().await;
    let address = emulator.address();
    let mut client = Client::connect(&emulator).await;
    let _receiver = client.read("0", Reading::default()).await.unwrap();
    drop(emulator);
    let end = within(client.connection.on_close()).await;
    assert!(end.is_err(), "{end:?}");
    within(async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_at_start() {
    for (builder, text) in [
        (Emulator::builder().event_hub("", 1), "the event hub is empty"),
        (Emulator::builder().event_hub("a/b", 1), "the event hub contains a slash"),
        (Emulator::builder().event_hub("orders", 0), "the partition count of event hub \"orders\""),
        (Emulator::builder().event_hub("orders", 32_769), "the partition count of event hub \"orders\""),
        (Emulator::builder().event_hub("orders", 1).event_hub("Orders", 1), "\"Orders\" is given twice"),
        (Emulator::builder().consumer_group("orders", "g"), "unknown event hub \"orders\""),
        (
            Emulator::builder().event_hub("orders", 1).consumer_group("orders", " g"),
            "the consumer group starts",
        ),
        (
            Emulator::builder()
                .event_hub("orders", 1)
                .consumer_group("orders", "Billing")
                .consumer_group("orders", "billing"),
            "the consumer group \"billing\" is given twice",
        ),
    ] {
        let error = builder.start().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[tokio::test]
async fn a_taken_port_is_reported() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = Emulator::builder().event_hub("orders", 1).port(port).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.is_transient() && error.to_string().contains(&port.to_string()), "{error}");
}

#[tokio::test]
async fn a_given_port_is_used() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let emulator = Emulator::builder().event_hub("orders", 1).port(free).start().await.unwrap();
    assert_eq!(emulator.address().port(), free);
}

#[tokio::test]
async fn publishing_to_what_does_not_exist_is_an_error() {
    let emulator = orders().await;
    let results = [
        emulator.publish("unknown", ["event"]),
        emulator.publish_to("orders", "4", ["event"]),
        emulator.partition("orders", "4").map(drop),
        emulator.receivers("unknown").map(drop),
    ];
    for result in results {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn a_property_that_amqp_does_not_allow_is_refused() {
    let emulator = orders().await;
    let event = EventData::new("event").property("list", Value::List(vec![]));
    let error = emulator.publish_to("orders", "0", [event]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("\"list\""), "{error}");
    assert_eq!(emulator.partition("orders", "0").unwrap().event_count, 0);
}

#[tokio::test]
async fn many_clients_come_and_go() {
    let emulator = orders().await;
    for _ in 0..8 {
        let mut client = Client::connect(&emulator).await;
        let _receiver = client.read("0", Reading::default()).await.unwrap();
        within(client.connection.close()).await.unwrap();
    }
    until(seeing("the readers are gone", || emulator.receivers("orders")), || {
        emulator.receivers("orders").unwrap().is_empty()
    })
    .await;
}

const FORCED: &str = "amqp:connection:forced";

/// The emulator in a runtime of its own, so that its tasks can be counted.
struct Apart {
    runtime: tokio::runtime::Runtime,
    emulator: Option<Emulator>,
}

impl Apart {
    fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let starting = Emulator::builder().event_hub("orders", 4).start();
        let emulator = Some(runtime.block_on(starting).unwrap());
        Self { runtime, emulator }
    }

    fn emulator(&self) -> &Emulator {
        self.emulator.as_ref().unwrap()
    }

    fn tasks(&self) -> usize {
        self.runtime.metrics().num_alive_tasks()
    }
}

/// A client with links of every kind.
async fn busy(emulator: &Emulator) -> (Client, Vec<fe2o3_amqp::Receiver>, fe2o3_amqp::Sender) {
    let mut client = Client::connect(emulator).await;
    emulator.publish_to("orders", "0", ["event"; 100]).unwrap();
    let without_credit = client.manual("orders/ConsumerGroups/$Default/Partitions/0").await;
    let waiting = client.read("1", Reading::default()).await.unwrap();
    let sender = client.sender("orders").await.unwrap();
    (client, vec![without_credit, waiting], sender)
}

#[test]
fn whatever_ends_its_connections_no_task_stays() {
    let apart = Apart::new();
    let here = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let idle = apart.tasks();
    // the clients stay until the tasks are gone
    let endings: [fn(&Emulator) -> usize; 5] = [
        |emulator| emulator.drop_connections(),
        |emulator| emulator.close_connections(FORCED, ""),
        |emulator| emulator.freeze_connections() + emulator.drop_connections(),
        |emulator| emulator.end_sessions("orders", FORCED, "") + emulator.drop_connections(),
        |emulator| emulator.detach_links("orders", FORCED, "") + emulator.drop_connections(),
    ];
    for (index, end) in endings.into_iter().enumerate() {
        here.block_on(async {
            let clients = [busy(apart.emulator()).await, busy(apart.emulator()).await];
            assert!(apart.tasks() > idle);
            assert!(end(apart.emulator()) >= 2, "ending {index}");
            until(seeing("the tasks ended", || apart.tasks()), || apart.tasks() == idle).await;
            drop(clients);
        });
    }
}

#[test]
fn a_stopped_emulator_leaves_no_task() {
    let mut apart = Apart::new();
    let here = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _clients = here.block_on(busy(apart.emulator()));
    let emulator = apart.emulator.take().unwrap();
    apart.runtime.block_on(emulator.stop());
    here.block_on(until(seeing("all tasks ended", || apart.tasks()), || apart.tasks() == 0));
}
