//! Claims-based security: a token for each audience, put before it is needed and renewed before it expires.
//!
//! Tests: below, and `tests/it/credentials.rs`.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fe2o3_amqp_types::primitives::SimpleValue;
use rand::{Rng, RngExt};
use secrecy::ExposeSecret;
use serde_amqp::Value as Amqp;
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, warn};

use crate::Result;
use crate::config::credential::{Credential, Secret, Token};
use crate::connection::engine::{Engine, no_answer};
use crate::connection::requests::{Request, Requests};
use crate::runtime::ambient;

/// A token is renewed this long before it expires, or when nine tenths of its life are over, whichever comes
/// first.
const RENEW_BEFORE_EXPIRY: Duration = Duration::from_secs(5 * 60);

/// The least time between two tries to renew.
const MIN_RENEWAL: Duration = Duration::from_secs(30);

/// What authorises one connection. The service allows one pair of `$cbs` links on it, so requests take turns.
#[derive(Debug)]
pub(crate) struct Cbs {
    requests: Requests,
    credential: Credential,
    /// When the token of each audience is renewed; `None` for never.
    audiences: Mutex<BTreeMap<String, Option<Instant>>>,
    changed: Notify,
    /// How long to wait for those who came before.
    limit: Duration,
}

impl Cbs {
    /// Attaches to `$cbs`.
    pub(crate) async fn open(engine: &Arc<Engine>, credential: Credential) -> Result<Self> {
        let requests = Requests::open(engine, "$cbs").await?;
        let (audiences, changed) = (Mutex::default(), Notify::new());
        Ok(Self { requests, credential, audiences, changed, limit: engine.limit() })
    }

    /// Renews tokens before they expire, and when the key is replaced. The connection ends with the links:
    /// nobody could be authorised on it any more (docs/contract.md §3).
    pub(crate) async fn keep_renewing(&self, engine: &Engine) {
        let mut replacements = self.credential.replacements();
        loop {
            let due = self.renew_due().await;
            tokio::select! {
                () = until(due) => {}
                () = self.changed.notified() => {}
                () = replaced(replacements.as_mut()) => self.renew_all().await,
                () = self.requests.closed() => return engine.kill(),
            }
        }
    }

    async fn renew_all(&self) {
        self.audiences.lock().await.values_mut().for_each(|due| *due = Some(Instant::now()));
    }

    /// Puts a token for the audience, unless one was put on this connection already; `fresh` puts one in any
    /// case.
    pub(crate) async fn authorize(&self, audience: &str, fresh: bool) -> Result<()> {
        // Held while the token is put: the partitions of one group ask at the same time, and one token serves
        // them all.
        let turn = timeout(self.limit, self.audiences.lock()).await;
        let mut audiences = turn.map_err(|_| no_answer("waiting for the token of others"))?;
        if fresh || !audiences.contains_key(audience) {
            let renewal = self.put_token(audience).await?;
            audiences.insert(audience.to_owned(), renewal);
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Puts a token and says when the next one is due.
    async fn put_token(&self, audience: &str) -> Result<Option<Instant>> {
        let now = ambient::now();
        let token = self.credential.token(audience, now).await?;
        self.requests.call(put_token(audience, &token)).await?;
        debug!(audience, "token put");
        let lifetime = token.expires_at.filter(|_| token.is_renewable);
        let lifetime = lifetime.map(|expiry| expiry.duration_since(now).unwrap_or_default());
        Ok(lifetime.map(|lifetime| Instant::now() + renewal_delay(lifetime, &mut ambient::rng())))
    }

    /// Renews what is due, and returns when the next token is.
    async fn renew_due(&self) -> Option<Instant> {
        let mut audiences = self.audiences.lock().await;
        for (audience, due) in audiences.iter_mut() {
            if due.is_some_and(|due| due <= Instant::now()) {
                *due = self.put_token(audience).await.unwrap_or_else(|error| {
                    // Not fatal: the service detaches when it no longer believes us, and that is recovered
                    // from.
                    warn!(audience, %error, "token not renewed");
                    Some(Instant::now() + MIN_RENEWAL)
                });
            }
        }
        audiences.values().flatten().min().copied()
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

async fn replaced(replacements: Option<&mut watch::Receiver<Secret>>) {
    let is_replaced = match replacements {
        Some(replacements) => replacements.changed().await.is_ok(),
        None => false,
    };
    if !is_replaced {
        pending::<()>().await;
    }
}

/// When to renew a token that lives this long from now (docs/contract.md §3.5).
fn renewal_delay(lifetime: Duration, rng: &mut impl Rng) -> Duration {
    let latest = lifetime.saturating_sub(RENEW_BEFORE_EXPIRY).min(lifetime.mul_f64(0.9));
    latest.mul_f64(rng.random_range(0.9..=1.0)).max(MIN_RENEWAL)
}

/// docs/contract.md §3.2.
fn put_token(audience: &str, token: &Token) -> Request {
    let mut properties = vec![
        ("operation", SimpleValue::String("put-token".to_owned())),
        ("type", SimpleValue::String(token.kind.to_owned())),
        ("name", SimpleValue::String(audience.to_owned())),
    ];
    if let Some(expiry) = token.expires_at.and_then(to_millis) {
        properties.push(("expiration", SimpleValue::Timestamp(expiry.into())));
    }
    Request { properties, body: Amqp::String(token.secret.expose_secret().to_owned()) }
}

fn to_millis(time: SystemTime) -> Option<i64> {
    time.duration_since(UNIX_EPOCH).ok()?.as_millis().try_into().ok()
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;
    use tokio::time::sleep;

    use super::*;
    use crate::testing::peer::{DETACH, LIMIT, Peer};
    use crate::{AccessToken, ErrorKind, TokenCredential, TokenError};

    #[tokio::test(start_paused = true)]
    async fn an_audience_is_authorized_once_and_then_renewed_in_time() {
        let (peer, connection) = Peer::connect().await;
        let start = Instant::now();
        for audience in ["a", "b", "a"] {
            connection.authorize(audience, false).await.unwrap();
        }
        connection.authorize("b", true).await.unwrap();
        let audiences =
            |peer: &Peer| peer.requests().into_iter().map(|(audience, _)| audience).collect::<Vec<_>>();
        assert_eq!(audiences(&peer), ["a", "b", "b"]);
        sleep(Duration::from_secs(3_600)).await;
        let renewals = peer.requests().split_off(3);
        let mut renewed: Vec<&str> = renewals.iter().map(|(audience, _)| audience.as_str()).collect();
        renewed.sort_unstable();
        assert_eq!(renewed, ["a", "b"]);
        assert!(
            renewals.iter().all(|(_, at)| (2_900..3_300).contains(&(*at - start).as_secs())),
            "{renewals:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_replaced_key_is_used_at_once() {
        let (peer, connection) = Peer::connect().await;
        connection.authorize("a", false).await.unwrap();
        connection.authorize("b", false).await.unwrap();
        let start = Instant::now();
        assert!(peer.credential().replace(Secret::key("Root", "another")));
        sleep(Duration::from_secs(1)).await;
        let renewals = peer.requests().split_off(2);
        assert_eq!(renewals.iter().map(|(audience, _)| audience.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(renewals.iter().all(|(_, at)| *at == start), "{renewals:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_fails_is_tried_again_and_breaks_nothing() {
        let (peer, connection) = Peer::connect().await;
        connection.authorize("a", false).await.unwrap();
        peer.answer([500, 401]);
        sleep(Duration::from_secs(3_600)).await;
        let times: Vec<Instant> = peer.requests().into_iter().map(|(_, at)| at).collect();
        assert_eq!(times.len(), 4);
        for pair in times[1..].windows(2) {
            assert_eq!((pair[1] - pair[0]).as_secs(), MIN_RENEWAL.as_secs());
        }
        assert!(connection.engine().is_live());
    }

    /// docs/contract.md §3: drop the whole connection. Nobody else would miss the links, and no token would
    /// be renewed any more.
    #[tokio::test(start_paused = true)]
    async fn a_connection_that_loses_its_links_alone_is_given_up() {
        let (peer, connection) = Peer::connect().await;
        connection.authorize("a", false).await.unwrap();
        peer.answer([DETACH]);
        assert!(connection.authorize("b", false).await.unwrap_err().is_transient());
        sleep(Duration::from_secs(1)).await;
        assert!(!connection.engine().is_live());
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_one_token_that_does_not_come_run_in_parallel() {
        #[derive(Debug)]
        struct Hangs;
        #[async_trait::async_trait]
        impl TokenCredential for Hangs {
            async fn token(&self, _scope: &str) -> std::result::Result<AccessToken, TokenError> {
                pending().await
            }
        }
        let (_peer, connection) = Peer::connect().await;
        let credential = Credential::Issued { credential: Arc::new(Hangs), limit: LIMIT };
        let cbs = Cbs::open(connection.engine(), credential).await.unwrap();
        let start = Instant::now();
        for authorized in join_all((0..9).map(|_| cbs.authorize("a", false))).await {
            assert_eq!(authorized.unwrap_err().kind(), ErrorKind::Timeout);
        }
        assert!(start.elapsed() <= 2 * LIMIT, "{:?}", start.elapsed());
    }

    /// docs/contract.md §3.3.
    #[tokio::test(start_paused = true)]
    async fn a_token_that_is_refused_is_an_error_of_its_kind() {
        let (peer, connection) = Peer::connect().await;
        for (status, kind) in
            [(401, ErrorKind::Unauthorized), (404, ErrorKind::NotFound), (503, ErrorKind::Busy)]
        {
            peer.answer([status]);
            assert_eq!(connection.authorize("a", false).await.unwrap_err().kind(), kind);
        }
        connection.authorize("a", false).await.unwrap();
    }

    /// docs/contract.md §3.5: at min(expiry − 5 min, 90 %), with jitter and a floor of 30 s.
    #[test]
    fn tokens_are_renewed_before_they_expire_and_not_all_at_once() {
        let mut rng = SmallRng::seed_from_u64(1);
        for (lifetime, latest) in [(3_600, 3_240), (600, 300), (86_400, 77_760)] {
            let delays: Vec<u64> =
                (0..100).map(|_| renewal_delay(Duration::from_secs(lifetime), &mut rng).as_secs()).collect();
            assert!(
                delays.iter().all(|delay| (latest * 9 / 10..=latest).contains(delay)),
                "{lifetime}: {delays:?}"
            );
            assert!(delays.iter().min() < delays.iter().max());
        }
        for lifetime in [0, 10, 330] {
            assert_eq!(renewal_delay(Duration::from_secs(lifetime), &mut rng), MIN_RENEWAL);
        }
    }
}
