//! No key, signature or token in any log line or error, whatever happens.

use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use eventhubs_checkpoint_store::{CheckpointStore, ClaimOutcome, Expected, async_trait};
use eventhubs_checkpoint_store_blob::BlobCheckpointStore;
use eventhubs_test_harness::Azurite;
use eventhubs_types::{AccessToken, TokenCredential, TokenError};
use tokio::net::TcpListener;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::proxy::{Plan, Proxy};
use crate::{at, claim, scope, version_of, won};

/// For Azurite's account, until 2099.
pub(crate) const SAS: &str = "sv=2021-12-02&ss=b&srt=sco&sp=rwdlac&se=2099-01-01T00%3A00%3A00Z&spr=https,http\
                   &sig=jlSI%2B5DohmjtlB2oCr2Vhd9u7l%2F%2FvB9E8D7vhfmKGX4%3D";

#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.bytes().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// A token that is never taken.
#[derive(Debug)]
struct Bearer;

#[async_trait]
impl TokenCredential for Bearer {
    async fn token(&self, _: &str) -> Result<AccessToken, TokenError> {
        Ok(AccessToken::new("canary-token", SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000)))
    }
}

/// All that an error shows of itself.
fn show(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    let shown: Vec<_> = chain.map(|error| format!("{error}\n{error:?}\n{error:#?}\n")).collect();
    shown.concat()
}

/// Does everything, well and badly; gives all that the errors show.
async fn exercise(store: &BlobCheckpointStore, proxy: &Proxy) -> String {
    let mut errors = format!("{store:?}\n");
    let mut note = |error: eventhubs_checkpoint_store::Error| errors.push_str(&show(&error));
    store.create_container_if_absent().await.err().map(&mut note);
    for plan in [Plan::Pass, Plan::LoseAnswer, Plan::status("403 No", ""), Plan::status("500 Oops", "")] {
        proxy.plan([plan]);
        match store.claim_ownership(&scope(), &claim("0", Some("me"), Expected::Absent)).await {
            ClaimOutcome::Won(record) => {
                store.claim_ownership(&scope(), &claim("0", None, version_of(&record))).await;
            }
            ClaimOutcome::Failed(error) => note(error),
            _ => {}
        }
        store.update_checkpoint(&scope(), &at("0", "1", 1), &Expected::Absent).await.err().map(&mut note);
        store.list_ownership(&scope()).await.err().map(&mut note);
        proxy.plan([Plan::status("200 OK", ""), Plan::status("404 Gone", "")]);
        store.list_checkpoints(&scope()).await.err().map(&mut note);
        store.checkpoint(&scope(), &crate::partition("0")).await.err().map(&mut note);
    }
    errors
}

fn connection_strings(port: u16) -> [String; 3] {
    let with_key = Azurite::connection_string_at(port);
    let endpoint = with_key.split(';').find(|part| part.starts_with("BlobEndpoint")).unwrap();
    [
        with_key.clone(),
        with_key.replace("AccountKey=Eby8vdM0", "AccountKey=Canary00"),
        format!("{endpoint};SharedAccessSignature={SAS}"),
    ]
}

#[tokio::test]
async fn a_shared_access_signature_opens_the_store() {
    let [_, _, with_signature] = connection_strings(Azurite::shared().await.port());
    let store = crate::open(&with_signature, &Azurite::unused_container()).unwrap();
    store.create_container_if_absent().await.unwrap();
    let first = won(&store, &claim("0", Some("me"), Expected::Absent)).await;
    let second = won(&store, &claim("0", Some("me"), version_of(&first))).await;
    let listed = store.list_ownership(&scope()).await.unwrap().records;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].version, second.version);
}

#[tokio::test]
async fn no_key_signature_or_token_shows_in_logs_or_errors() {
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(log.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let proxy = Proxy::start().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let mut shown = String::new();
    for text in connection_strings(proxy.port) {
        let store = crate::open(&text, &Azurite::unused_container()).unwrap();
        shown += &exercise(&store, &proxy).await;
    }
    let endpoint = format!("http://127.0.0.1:{}/devstoreaccount1", proxy.port);
    let with_token = crate::with_credential(&endpoint, "checkpoints", Bearer).build().unwrap();
    let with_url = crate::with_sas_url(&format!("{endpoint}/checkpoints?{SAS}")).build().unwrap();
    shown += &exercise(&with_token, &proxy).await;
    shown += &exercise(&with_url, &proxy).await;
    for text in connection_strings(nobody) {
        let store = crate::open(&text, "checkpoints").unwrap();
        shown += &show(&store.list_ownership(&scope()).await.unwrap_err());
    }
    let seen = proxy.take_seen();
    let mut secrets: Vec<_> = seen.iter().filter_map(|head| signature(head)).collect();
    assert!(secrets.len() > 20, "requests were signed: {seen:?}");
    assert!(seen.iter().any(|head| head.contains("Bearer canary-token")), "{seen:?}");
    secrets.extend([
        "canary-token",
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1",
        "Canary",
        "jlSI%2B5Dohm",
        "jlSI+5Dohm",
        "SharedKey",
    ]);
    let logged = log.text();
    assert!(
        logged.contains(crate::SDK_LOG) && logged.contains("sent again"),
        "the log is there, the SDK's and ours"
    );
    assert!(shown.contains("refused the credential") && shown.contains("Connection refused"), "{shown}");
    for secret in secrets {
        for line in logged.lines().chain(shown.lines()) {
            assert!(!line.contains(secret), "{secret}: {line}");
        }
    }
}

/// The secret part of a request, a signature by the account's key.
fn signature(head: &str) -> Option<&str> {
    let value =
        head.lines().find_map(|line| line.strip_prefix("authorization: SharedKey devstoreaccount1:"))?;
    Some(value.trim())
}
