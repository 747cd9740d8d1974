//! What goes wrong for good has the right kind, and names what is wrong.

use eventhubs_checkpoint_store::{CheckpointStore, ClaimOutcome, Error, ErrorKind, Expected};
use eventhubs_checkpoint_store_blob::BlobCheckpointStore;
use eventhubs_test_harness::Azurite;
use tokio::net::TcpListener;

use crate::{at, claim, partition, scope, store};

/// One error of each operation.
pub(crate) async fn all_errors(store: &BlobCheckpointStore) -> Vec<Error> {
    let mut errors = Vec::new();
    errors.extend(store.list_ownership(&scope()).await.err());
    errors.extend(store.list_checkpoints(&scope()).await.err());
    errors.extend(store.checkpoint(&scope(), &partition("0")).await.err());
    for expected in [Expected::Absent, Expected::Version(eventhubs_checkpoint_store::Version::new("0x1"))] {
        errors.extend(store.update_checkpoint(&scope(), &at("0", "1", 1), &expected).await.err());
        match store.claim_ownership(&scope(), &claim("0", Some("me"), expected)).await {
            ClaimOutcome::Failed(error) => errors.push(error),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(errors.len(), 7, "{errors:?}");
    errors
}

#[tokio::test]
async fn a_missing_container_is_not_found_and_named() {
    let text = Azurite::shared().await.connection_string();
    let store = crate::open(&text, "nobody-made-this").unwrap();
    for error in all_errors(&store).await {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
        assert!(error.to_string().contains("container `nobody-made-this`"), "{error}");
    }
}

#[tokio::test]
async fn a_wrong_key_is_unauthorized() {
    let text = Azurite::shared().await.connection_string().replace("AccountKey=Eby8", "AccountKey=AAAA");
    let store = crate::open(&text, "checkpoints").unwrap();
    for error in all_errors(&store).await {
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_unavailable_with_the_cause() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let text = Azurite::connection_string_at(nobody);
    let store = crate::open(&text, "checkpoints").unwrap();
    let error = store.list_ownership(&scope()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |&error| error.source());
    let causes: Vec<_> = causes.map(ToString::to_string).collect();
    assert!(causes.iter().any(|cause| cause.contains("refused")), "{causes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_never_answers_is_a_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let text = Azurite::connection_string_at(silent.local_addr().unwrap().port());
    let store = crate::open(&text, "checkpoints").unwrap();
    for error in all_errors(&store).await {
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    }
}

#[tokio::test]
async fn a_container_may_be_created_twice() {
    store().await.create_container_if_absent().await.unwrap();
}
