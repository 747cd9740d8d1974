//! What is read of a connection string or a URL, and what is refused without being repeated.

use secrecy::ExposeSecret;

use eventhubs_checkpoint_store::ErrorKind;

use super::*;
use crate::account::is_this_machine;

const KEY: &str = "c2VjcmV0LWNhbmFyeQ==";

fn error(connection_string: &str) -> String {
    let error = Connection::parse(connection_string).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    error.to_string()
}

#[test]
fn the_string_of_the_portal_is_read() {
    let text = format!(
        "DefaultEndpointsProtocol=https;AccountName=contoso;AccountKey={KEY};EndpointSuffix=core.windows.net"
    );
    let connection = Connection::parse(&text).unwrap();
    assert_eq!(connection.account.url(), "https://contoso.blob.core.windows.net");
    assert_eq!(connection.account.name, "contoso");
    assert!(
        matches!(connection.credential, Credential::Given(Secret::Key(key)) if key.expose_secret() == KEY)
    );
}

#[test]
fn keys_are_known_in_any_case_and_order_with_strangers_between() {
    let text = format!(" accountkey={KEY}; ;QueueEndpoint=https://q/ ; ACCOUNTNAME = contoso;");
    assert_eq!(Connection::parse(&text).unwrap().account.url(), "https://contoso.blob.core.windows.net");
}

#[test]
fn an_endpoint_comes_before_a_name_and_loses_its_last_slash() {
    let text = format!("AccountName=a;AccountKey={KEY};BlobEndpoint=http://127.0.0.1:10001/a/");
    assert_eq!(Connection::parse(&text).unwrap().account.url(), "http://127.0.0.1:10001/a");
}

#[test]
fn a_signature_needs_no_account_name() {
    let text = "BlobEndpoint=https://contoso.blob.core.windows.net;SharedAccessSignature=?sv=2022&sig=a%3D";
    let connection = Connection::parse(text).unwrap();
    assert!(
        matches!(connection.credential, Credential::Given(Secret::Sas(token)) if token.expose_secret() == "sv=2022&sig=a%3D")
    );
}

#[test]
fn development_storage_is_azurite_at_its_usual_port() {
    let connection = Connection::parse("UseDevelopmentStorage=TRUE;").unwrap();
    assert_eq!(connection.account.url(), "http://127.0.0.1:10000/devstoreaccount1");
    assert_eq!(connection.account.name, "devstoreaccount1");
}

#[test]
fn an_error_names_the_key_and_no_value() {
    let canary = "c2VjcmV0LWNhbmFyeQ";
    for (text, expected) in [
        (format!("AccountName=a;{canary}"), "part 2 has no `=`"),
        ("AccountName=contoso".to_owned(), "AccountKey is missing"),
        (format!("AccountKey={KEY}"), "AccountName is missing"),
        (format!("BlobEndpoint=https://h;AccountKey={KEY}"), "AccountName is missing"),
        (format!("AccountName=;AccountKey={KEY}"), "AccountName is empty"),
        (format!("AccountName=a;AccountKey={KEY};accountkey={KEY}"), "AccountKey is there twice"),
        (format!("AccountName=a;AccountKey={canary}*"), "AccountKey is not base64"),
        (format!("AccountName=a/{canary};AccountKey={KEY}"), "AccountName is not part of a host name"),
        (format!("AccountName=a;AccountKey={KEY};EndpointSuffix=x?{canary}"), "EndpointSuffix is not part"),
        (
            format!("AccountName=a;AccountKey={KEY};DefaultEndpointsProtocol=ftp"),
            "DefaultEndpointsProtocol is",
        ),
        (format!("AccountName=a;AccountKey={KEY};BlobEndpoint={canary}"), "BlobEndpoint is not a URL"),
        (format!("AccountName=a;AccountKey={KEY};BlobEndpoint=https://h?sig={canary}"), "BlobEndpoint holds"),
        (format!("AccountName=a;AccountKey={KEY};BlobEndpoint=https://{canary}@h"), "BlobEndpoint holds"),
        (format!("AccountName=a;SharedAccessSignature=sv={canary}"), "SharedAccessSignature has no `sig`"),
        (
            format!("AccountName=a;AccountKey={KEY};SharedAccessSignature=sig={canary}"),
            "SharedAccessSignature does",
        ),
        (format!("UseDevelopmentStorage={canary}"), "UseDevelopmentStorage can only be `true`"),
        (
            format!("BlobEndpoint=http://contoso.example;SharedAccessSignature=sig={canary}"),
            "SharedAccessSignature goes over https only",
        ),
        (
            format!("UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://h/{canary}"),
            "DevelopmentStorageProxyUri holds more than a host and a port",
        ),
        (
            format!("AccountName=a;AccountKey={KEY};DevelopmentStorageProxyUri=http://{canary}"),
            "DevelopmentStorageProxyUri goes with UseDevelopmentStorage only",
        ),
        (
            format!("UseDevelopmentStorage=true;AccountKey={KEY}"),
            "AccountKey does not go with UseDevelopmentStorage",
        ),
        (String::new(), "connection string: is empty"),
        (format!("AccountKey={KEY}"), "AccountName is missing"),
    ] {
        let error = error(&text);
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains(canary), "{error}");
    }
}

#[test]
fn debug_shows_no_secret() {
    let text = format!("AccountName=contoso;AccountKey={KEY}");
    let debug = format!("{:?}", Connection::parse(&text).unwrap());
    assert!(debug.contains("contoso") && !debug.contains(KEY), "{debug}");
}

#[test]
fn development_storage_is_on_the_host_that_the_proxy_uri_names() {
    for (uri, endpoint) in [
        ("http://host.docker.internal", "http://host.docker.internal:10000/devstoreaccount1"),
        ("http://azurite:10010/", "http://azurite:10010/devstoreaccount1"),
    ] {
        let text = format!("UseDevelopmentStorage=true;DevelopmentStorageProxyUri={uri}");
        assert_eq!(Connection::parse(&text).unwrap().account.url(), endpoint);
    }
}

#[test]
fn other_clouds_are_a_suffix_or_an_endpoint() {
    for (setting, endpoint) in [
        ("EndpointSuffix=core.usgovcloudapi.net", "https://contoso.blob.core.usgovcloudapi.net"),
        ("EndpointSuffix=core.chinacloudapi.cn", "https://contoso.blob.core.chinacloudapi.cn"),
        ("EndpointSuffix=local.azurestack.external", "https://contoso.blob.local.azurestack.external"),
        (
            "BlobEndpoint=https://contoso.z12.blob.storage.azure.net/",
            "https://contoso.z12.blob.storage.azure.net",
        ),
        ("BlobEndpoint=https://blobs.contoso.example:8443/a", "https://blobs.contoso.example:8443/a"),
    ] {
        let text = format!("AccountName=contoso;AccountKey={KEY};{setting}");
        assert_eq!(Connection::parse(&text).unwrap().account.url(), endpoint);
    }
}

#[test]
fn a_url_with_a_signature_names_its_container_in_any_cloud() {
    for (url, endpoint) in [
        (
            "https://contoso.blob.core.windows.net/checkpoints?sv=1&sig=a%3D",
            "https://contoso.blob.core.windows.net",
        ),
        (
            "https://contoso.blob.core.usgovcloudapi.net/checkpoints/?sig=a%3D&sv=1",
            "https://contoso.blob.core.usgovcloudapi.net",
        ),
        (
            "https://contoso.privatelink.blob.core.windows.net/checkpoints?sv=1&sig=a%3D",
            "https://contoso.privatelink.blob.core.windows.net",
        ),
        (
            "http://127.0.0.1:10000/devstoreaccount1/checkpoints?sv=1&sig=a%3D",
            "http://127.0.0.1:10000/devstoreaccount1",
        ),
    ] {
        let (connection, container) = Connection::of_sas_url(url).unwrap();
        assert_eq!((connection.account.url().as_str(), container.as_str()), (endpoint, "checkpoints"));
        let debug = format!("{connection:?}");
        assert!(!debug.contains("a%3D"), "{debug}");
    }
}

#[test]
fn a_bad_url_of_a_container_is_refused_and_not_repeated() {
    for (url, reason) in [
        ("canary", "is not a URL"),
        ("https://canary.blob.core.windows.net/checkpoints", "has no `sig`"),
        ("https://canary.blob.core.windows.net?sig=canary", "names no container"),
        ("https://me:canary@h/checkpoints?sig=canary", "holds more than a host and a path"),
        ("ftp://h/checkpoints?sig=canary", "is neither https nor http"),
        ("http://contoso.example/checkpoints?sig=canary", "goes over https only"),
    ] {
        let error = Connection::of_sas_url(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        let text = error.to_string();
        assert!(text.contains(reason) && !text.contains("canary"), "{text}");
    }
}

#[test]
fn this_machine_is_every_loopback_address() {
    for (url, is_it) in [
        ("http://127.0.0.1:1", true),
        ("http://127.0.0.2", true),
        ("http://[::1]:1/x", true),
        ("http://LOCALHOST", true),
        ("http://localhost.example", false),
        ("http://10.0.0.1", false),
    ] {
        assert_eq!(is_this_machine(&Url::parse(url).unwrap()), is_it, "{url}");
    }
}
