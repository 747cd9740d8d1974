//! Who can reach the emulator from where, and with which key.

use crate::program::{Program, http, output};

#[tokio::test]
async fn a_container_reaches_it_by_an_allowed_name() {
    let options = ["--hub", "orders:1", "--bind", "0.0.0.0", "--allow-host", "emulator"];
    let program =
        Program::start(&[&options[..], &["--shared-access-key", "Own=secret-canary"]].concat()).await;
    let address = program.announcement["namespaces"][0]["address"].as_str().unwrap();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    for (host, status) in [("emulator:5300", "HTTP/1.1 200 OK"), ("evil.example", "HTTP/1.1 403 Forbidden")] {
        let answer = http(program.host(), "GET", "/health", &[("Host", host)], "").await;
        assert_eq!(answer.0, status, "{host}");
    }
    let own = program.connection_string(0, 0);
    assert!(own.contains("SharedAccessKeyName=Own;SharedAccessKey=secret-canary"), "{own}");
    let known = own.replace("SharedAccessKey=secret-canary", "SharedAccessKey=SAS_KEY_VALUE");
    for (connection_string, is_sent) in [(own, true), (known.as_str(), false)] {
        let sent = output(&["send", "--connection-string", connection_string, "tea"]).await;
        assert_eq!(sent.status.success(), is_sent, "{}", String::from_utf8_lossy(&sent.stderr));
    }
}

#[tokio::test]
async fn a_malformed_key_is_refused_without_being_shown() {
    let refused =
        output(&["emulator", "--hub", "orders:1", "--port", "0", "--shared-access-key", "secret-canary"])
            .await;
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(told, "error: --shared-access-key: is not NAME=KEY\n");
}
