//! The tokens of a credential: kept until shortly before they expire, fetched by one request for all.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use eventhubs_checkpoint_store::ErrorKind;
use eventhubs_types::{AccessToken, TokenCredential, TokenError};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// What the tokens are for; the same in all clouds.
const SCOPE: &str = "https://storage.azure.com/.default";

/// How long before its expiry a token is renewed, or half its life if that is shorter.
const MARGIN: Duration = Duration::from_secs(5 * 60);

/// How long the issuer may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(15);

/// The pause after a failed renewal while the token is still valid.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);

/// The longest life that is believed. Longer ones overflow the clock of the runtime.
const MAX_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Why there is no token; the error is the issuer's.
#[derive(Debug)]
pub(crate) struct NoToken {
    pub(crate) kind: ErrorKind,
    pub(crate) reason: &'static str,
    pub(crate) source: Option<TokenError>,
}

/// A credential and its last token.
pub(crate) struct Tokens {
    credential: Arc<dyn TokenCredential>,
    /// Locked while a token is fetched, so that requests that start together fetch one.
    last: Mutex<Option<Issued>>,
}

struct Issued {
    token: Arc<AccessToken>,
    renew_at: Instant,
    expires_at: Instant,
}

impl Tokens {
    pub(crate) fn new(credential: Arc<dyn TokenCredential>) -> Self {
        Self { credential, last: Mutex::default() }
    }

    /// Returns a token that is valid for a while.
    pub(crate) async fn token(&self) -> Result<Arc<AccessToken>, NoToken> {
        let mut last = self.last.lock().await;
        self.renewed(&mut last).await
    }

    /// Returns a token that is not the refused one, which another request may have fetched already.
    pub(crate) async fn instead_of(&self, refused: &Arc<AccessToken>) -> Result<Arc<AccessToken>, NoToken> {
        let mut last = self.last.lock().await;
        if last.as_ref().is_some_and(|issued| Arc::ptr_eq(&issued.token, refused)) {
            *last = None;
        }
        self.renewed(&mut last).await
    }

    async fn renewed(&self, last: &mut Option<Issued>) -> Result<Arc<AccessToken>, NoToken> {
        let now = Instant::now();
        if let Some(issued) = last.as_ref().filter(|issued| now < issued.renew_at) {
            return Ok(Arc::clone(&issued.token));
        }
        match (self.fetch().await, last) {
            (Ok(token), last) => {
                let issued = last.insert(Issued::new(token, Instant::now(), wall_clock()));
                Ok(Arc::clone(&issued.token))
            }
            // An issuer that is away for some minutes must not stop what a valid token still opens.
            (Err(NoToken { reason, source, .. }), Some(issued)) if now < issued.expires_at => {
                let source = source.as_deref();
                tracing::warn!(
                    error = source.map(tracing::field::display),
                    reason,
                    "the token was not renewed"
                );
                issued.renew_at = now + RENEWAL_PAUSE;
                Ok(Arc::clone(&issued.token))
            }
            (Err(none), _) => Err(none),
        }
    }

    async fn fetch(&self) -> Result<AccessToken, NoToken> {
        let none = |kind, reason, source| NoToken { kind, reason, source };
        let issued = timeout(FETCH_TIMEOUT, self.credential.token(SCOPE)).await;
        let issued =
            issued.map_err(|_| none(ErrorKind::Timeout, "the credential gave no token in time", None))?;
        issued.map_err(|error| none(ErrorKind::Unavailable, "the credential has no token", Some(error)))
    }
}

impl Issued {
    fn new(token: AccessToken, now: Instant, wall_clock: SystemTime) -> Self {
        let life = token.expires_at().duration_since(wall_clock).unwrap_or_default().min(MAX_LIFE);
        let renew_at = now + life.saturating_sub(MARGIN).max(life / 2);
        Self { token: Arc::new(token), renew_at, expires_at: now + life }
    }
}

/// Not that of the credential, which may show what it should not.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

#[expect(clippy::disallowed_methods, reason = "tokens expire by the wall clock")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Issues tokens that live for as long as it is told, one each, and is away otherwise.
    #[derive(Debug)]
    struct Issuer(std::sync::Mutex<VecDeque<Option<Duration>>>);

    #[eventhubs_checkpoint_store::async_trait]
    impl TokenCredential for Issuer {
        async fn token(&self, scope: &str) -> Result<AccessToken, TokenError> {
            assert_eq!(scope, SCOPE);
            let (life, left) = {
                let mut lives = self.0.lock().unwrap();
                (lives.pop_front().flatten(), lives.len())
            };
            let life = life.ok_or("the issuer is away")?;
            Ok(AccessToken::new(format!("token-{left}-left"), wall_clock() + life))
        }
    }

    fn tokens<const N: usize>(lives: [Option<u64>; N]) -> Tokens {
        let lives = lives.into_iter().map(|life| life.map(Duration::from_secs)).collect();
        Tokens::new(Arc::new(Issuer(std::sync::Mutex::new(lives))))
    }

    async fn text(tokens: &Tokens) -> String {
        tokens.token().await.unwrap().expose().to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_kept_until_five_minutes_before_its_end() {
        let tokens = tokens([Some(3_600), Some(3_600)]);
        assert_eq!(text(&tokens).await, "token-1-left");
        tokio::time::advance(Duration::from_secs(3_290)).await;
        assert_eq!(text(&tokens).await, "token-1-left");
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(text(&tokens).await, "token-0-left");
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_token_is_kept_for_half_its_life() {
        let tokens = tokens([Some(60), Some(60)]);
        assert_eq!(text(&tokens).await, "token-1-left");
        tokio::time::advance(Duration::from_secs(25)).await;
        assert_eq!(text(&tokens).await, "token-1-left");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(text(&tokens).await, "token-0-left");
    }

    #[tokio::test(start_paused = true)]
    async fn a_valid_token_is_used_while_the_issuer_is_away() {
        let tokens = tokens([Some(3_600), None, None, Some(3_600)]);
        assert_eq!(text(&tokens).await, "token-3-left");
        tokio::time::advance(Duration::from_secs(3_400)).await;
        assert_eq!(text(&tokens).await, "token-3-left", "its renewal failed");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(text(&tokens).await, "token-3-left", "the issuer is left alone for a while");
        tokio::time::advance(Duration::from_secs(200)).await;
        assert_eq!(tokens.token().await.unwrap_err().kind, ErrorKind::Unavailable, "it has expired");
        assert_eq!(text(&tokens).await, "token-0-left");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_token_is_replaced_once_for_all_who_had_it() {
        let tokens = tokens([Some(3_600), Some(3_600), Some(3_600)]);
        let refused = tokens.token().await.unwrap();
        let (one, other) = tokio::join!(tokens.instead_of(&refused), tokens.instead_of(&refused));
        assert_eq!(one.unwrap().expose(), "token-1-left");
        assert_eq!(other.unwrap().expose(), "token-1-left");
    }

    #[tokio::test(start_paused = true)]
    async fn an_issuer_that_hangs_is_a_timeout() {
        #[derive(Debug)]
        struct Hangs;
        #[eventhubs_checkpoint_store::async_trait]
        impl TokenCredential for Hangs {
            async fn token(&self, _: &str) -> Result<AccessToken, TokenError> {
                std::future::pending().await
            }
        }
        let tokens = Tokens::new(Arc::new(Hangs));
        assert_eq!(tokens.token().await.unwrap_err().kind, ErrorKind::Timeout);
    }

    #[test]
    fn a_token_for_ever_does_not_overflow() {
        let now = Instant::now();
        let token =
            AccessToken::new("x", SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX) * 50));
        assert_eq!(Issued::new(token, now, SystemTime::UNIX_EPOCH).expires_at, now + MAX_LIFE);
    }
}
