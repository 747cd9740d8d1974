use std::io::Write;
use std::time::Duration;

use eventhubs_amqp::{EventHubClient, RetryPolicy};
use tempfile::NamedTempFile;
use tokio::net::TcpStream;

use crate::program::{Program, output, within};

const CONFIG: &str = r#"{
  "UserConfig": {
    "NamespaceConfig": [
      {
        "Type": "EventHub",
        "Name": "emulatorNs1",
        "Entities": [
          { "Name": "eh1", "PartitionCount": "2", "ConsumerGroups": [{ "Name": "cg1" }] },
          { "Name": "eh2", "PartitionCount": 40, "ConsumerGroups": [{ "Name": "$default" }] }
        ]
      },
      { "Type": "EventHub", "Name": "emulatorNs2", "Entities": [{ "Name": "eh1", "PartitionCount": 3 }] }
    ],
    "LoggingConfig": { "Type": "File" }
  }
}"#;

fn file(content: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file
}

/// How many partitions a client of that connection string sees.
async fn partitions(connection_string: &str) -> usize {
    let client = EventHubClient::builder(connection_string.parse().unwrap()).build().unwrap();
    let properties = within(client.event_hub_properties()).await.unwrap();
    client.close().await;
    properties.partition_ids.len()
}

#[tokio::test]
async fn the_printed_connection_string_connects() {
    let program = Program::start(&["--hub", "orders:4"]).await;
    assert_eq!(partitions(program.connection_string(0, 0)).await, 4);
}

#[tokio::test]
async fn an_official_config_is_served_namespace_by_namespace() {
    let file = file(CONFIG);
    let program = Program::start(&["--config", file.path().to_str().unwrap()]).await;
    for (namespace, hub, count) in [(0, 0, 2), (0, 1, 40), (1, 0, 3)] {
        assert_eq!(partitions(program.connection_string(namespace, hub)).await, count);
    }
    let namespaces = &program.announcement["namespaces"];
    assert_eq!(namespaces[0]["name"], "emulatorNs1");
    assert_eq!(namespaces[1]["name"], "emulatorNs2");
    assert_ne!(namespaces[0]["address"], namespaces[1]["address"]);
}

#[tokio::test]
async fn a_mistake_in_the_config_names_file_and_field() {
    let file = file(&CONFIG.replace("40", "0"));
    let path = file.path().to_str().unwrap();
    let output = output(&["emulator", "--config", path]).await;
    assert_eq!(output.status.code(), Some(1));
    let expected = format!(
        "error: {path}: UserConfig.NamespaceConfig[0].Entities[1].PartitionCount: the partition count is not a number \
         above 0"
    );
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with(&expected), "{error}");
}

#[tokio::test]
async fn hubs_that_cannot_be_together_are_refused() {
    let output = output(&["emulator", "--port", "0", "--hub", "orders:1", "--hub", "Orders:1"]).await;
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains(r#"the event hub "Orders" is given twice"#), "{error}");
}

#[tokio::test]
async fn without_anything_to_serve_it_teaches() {
    let missing = output(&["emulator"]).await;
    assert_eq!(missing.status.code(), Some(2));
    let help = output(&["emulator", "--help"]).await;
    assert!(help.status.success());
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("eventhubs emulator --hub orders:4"), "{help}");
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_it() {
    let first = Program::start(&["--hub", "orders:1"]).await;
    let address = first.announcement["namespaces"][0]["address"].as_str().unwrap();
    let port = address.rsplit(':').next().unwrap();
    let output = output(&["emulator", "--hub", "orders:1", "--port", port]).await;
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains(&format!("on 127.0.0.1:{port}")), "{error}");
    assert!(error.contains("because: Address"), "{error}");
}

#[tokio::test]
async fn it_is_healthy_where_the_official_emulator_is() {
    let program = Program::start(&["--hub", "orders:1"]).await;
    let (status, body) = program.http("GET", "/health", "").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(body.contains(r#""status":"healthy""#), "{body}");
}

#[cfg(unix)]
#[tokio::test]
async fn either_signal_stops_it_cleanly() {
    for signal in ["INT", "TERM"] {
        let program = Program::start(&["--hub", "orders:1"]).await;
        let address = program.announcement["namespaces"][0]["address"].as_str().unwrap().to_owned();
        let _client = TcpStream::connect(&address).await.unwrap();
        assert_eq!(program.signal(signal).await.code(), Some(0), "{signal}");
        assert!(TcpStream::connect(&address).await.is_err(), "{signal}");
    }
}

#[tokio::test]
async fn the_certificate_is_written_where_it_is_wanted() {
    let file = NamedTempFile::new().unwrap();
    let _program =
        Program::start(&["--hub", "orders:1", "--certificate", file.path().to_str().unwrap()]).await;
    let written = std::fs::read_to_string(file.path()).unwrap();
    assert!(written.starts_with("-----BEGIN CERTIFICATE-----"), "{written}");
}

#[tokio::test]
async fn faults_are_injected_over_http() {
    let program = Program::start(&["--hub", "orders:1"]).await;
    let client = EventHubClient::builder(program.connection_string(0, 0).parse().unwrap())
        .retry(RetryPolicy::fixed(Duration::ZERO).max_retries(0))
        .build()
        .unwrap();
    let faults = "/namespaces/emulatorNs1/faults";
    let busy = r#"{"fault": "refuse_attaches", "event_hub": "orders", "count": 1, "condition": "com.microsoft:server-busy"}"#;
    let (status, body) = program.http("POST", faults, busy).await;
    assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 200 OK", r#"{"hit":null}"#));
    let open = || client.partition_receiver("$Default".parse().unwrap(), "0".parse().unwrap()).open();
    let refused = within(open()).await.unwrap_err();
    assert_eq!(refused.condition(), Some("com.microsoft:server-busy"));
    let _receiver = within(open()).await.unwrap();
    let (_, body) = program.http("POST", faults, r#"{"fault": "drop_connections"}"#).await;
    assert_eq!(body, r#"{"hit":1}"#);
}

#[tokio::test]
async fn a_fault_that_is_none_is_refused_with_a_reason() {
    let program = Program::start(&["--hub", "orders:1"]).await;
    for (path, body, code, why) in [
        ("/namespaces/emulatorNs1/faults", r#"{"fault": "explode"}"#, "422", "unknown variant `explode`"),
        ("/namespaces/emulatorNs1/faults", r#"{"fault": "advance_clock"}"#, "422", "missing field `seconds`"),
        (
            "/namespaces/emulatorNs1/faults",
            r#"{"fault": "pause_deliveries", "event_hub": "unknown"}"#,
            "404",
            "event hub",
        ),
        ("/namespaces/other/faults", r#"{"fault": "expire_tokens"}"#, "404", "no namespace"),
    ] {
        let (status, answer) = program.http("POST", path, body).await;
        assert!(status.contains(code) && answer.contains(why), "{body}: {status} {answer}");
    }
}

#[tokio::test]
async fn event_hubs_come_grow_and_go_over_http() {
    let program = Program::start(&["--hub", "orders:4:billing"]).await;
    let orders = "/namespaces/emulatorNs1/event-hubs/orders";
    let (status, body) = program.http("PUT", orders, r#"{"partitions": 2}"#).await;
    assert_eq!(status, "HTTP/1.1 200 OK", "{body}");
    assert_eq!(partitions(program.connection_string(0, 0)).await, 2);
    let late = "/namespaces/emulatorNs1/event-hubs/late";
    let (status, body) =
        program.http("PUT", late, r#"{"partitions": 3, "consumer_groups": ["audit"]}"#).await;
    assert_eq!(status, "HTTP/1.1 201 Created", "{body}");
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(partitions(answer["connection_string"].as_str().unwrap()).await, 3);
    let (status, body) = program.http("PATCH", late, r#"{"partitions": 5}"#).await;
    assert_eq!(status, "HTTP/1.1 200 OK", "{body}");
    assert_eq!(partitions(answer["connection_string"].as_str().unwrap()).await, 5);
    let (status, body) = program.http("PATCH", late, r#"{"partitions": 4}"#).await;
    assert!(status.contains("400") && body.contains("only get more"), "{status} {body}");
    assert_eq!(program.http("DELETE", late, "").await.0, "HTTP/1.1 200 OK");
    for (method, path, body, code) in [
        ("DELETE", late, "", "404"),
        ("PATCH", late, r#"{"partitions": 5}"#, "404"),
        ("PUT", late, r#"{"partitions": 0}"#, "400"),
        ("PUT", late, "{}", "422"),
        ("PUT", "/namespaces/other/event-hubs/orders", r#"{"partitions": 1}"#, "404"),
    ] {
        let (status, answer) = program.http(method, path, body).await;
        assert!(status.contains(code), "{method} {path} {body}: {status} {answer}");
    }
}

#[tokio::test]
async fn a_data_folder_is_served_again_without_being_described() {
    let folder = tempfile::TempDir::new().unwrap();
    let data = folder.path().to_str().unwrap();
    let program = Program::start(&["--hub", "orders:4:billing", "--data", data]).await;
    let in_use = output(&["emulator", "--port", "0", "--health-port", "0", "--data", data]).await;
    assert_eq!(in_use.status.code(), Some(1));
    let error = String::from_utf8(in_use.stderr).unwrap();
    assert!(error.contains("is used by another process"), "{error}");
    program.signal("TERM").await;
    let program = Program::start(&["--data", data]).await;
    let hub = &program.announcement["namespaces"][0]["event_hubs"][0];
    assert_eq!(hub["consumer_groups"], serde_json::json!(["$Default", "billing"]));
    assert_eq!(partitions(program.connection_string(0, 0)).await, 4);
}
