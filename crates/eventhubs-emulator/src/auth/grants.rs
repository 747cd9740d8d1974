//! What the tokens of one connection open, and until when. Which tokens are good is for `sas.rs` and `serve/cbs.rs`. Tests:
//! `tests/it/cbs.rs`.

use tokio::sync::watch;

use crate::auth::address;
use crate::auth::sas;
use crate::clock::Clock;

/// How many audiences one connection can hold tokens for; the oldest grant goes first.
const MAX_GRANTS: usize = 1024;

/// What the tokens of one connection open.
#[derive(Debug, Default)]
pub(crate) struct Grants(Vec<Grant>);

#[derive(Debug)]
struct Grant {
    audience: String,
    /// In milliseconds since 1970; `None` for a token that does not say.
    expires_ms: Option<i64>,
}

impl Grants {
    /// Opens an audience, or renews it.
    pub(crate) fn put(&mut self, audience: &str, expires_ms: Option<i64>) {
        self.0.retain(|grant| grant.audience != audience);
        if self.0.len() == MAX_GRANTS {
            self.0.remove(0);
        }
        self.0.push(Grant { audience: audience.into(), expires_ms });
    }

    /// Opens the whole namespace for good.
    pub(crate) fn put_for_all(&mut self) {
        self.put("", None);
    }

    /// Lets all tokens expire now.
    pub(crate) fn expire(&mut self) {
        for grant in &mut self.0 {
            grant.expires_ms = Some(i64::MIN);
        }
    }

    /// Whether an unexpired token opens this entity.
    pub(crate) fn open(&self, entity: &str, now_ms: i64) -> bool {
        self.open_until(entity) > now_ms
    }

    fn open_until(&self, entity: &str) -> i64 {
        let covering = self.0.iter().filter(|grant| sas::covers(&grant.audience, entity));
        let expiries = covering.map(|grant| grant.expires_ms.unwrap_or(i64::MAX));
        expiries.max().unwrap_or(i64::MIN)
    }

    /// Whether an unexpired token opens the properties of this hub. One for the node below a consumer group will do: it
    /// is what Microsoft's Rust SDK puts.
    pub(crate) fn open_management(&self, hub: &str, now_ms: i64) -> bool {
        let node = format!("{hub}/$management");
        let mut valid = self.0.iter().filter(|grant| grant.is_valid(now_ms));
        valid.any(|grant| {
            let audience = address::path(&grant.audience);
            sas::covers(audience, &node) || (audience.ends_with("/$management") && sas::covers(hub, audience))
        })
    }
}

impl Grant {
    fn is_valid(&self, now_ms: i64) -> bool {
        self.expires_ms.is_none_or(|expiry| expiry > now_ms)
    }
}

/// Returns as soon as no token opens this entity any more.
pub(crate) async fn expired(grants: &watch::Sender<Grants>, clock: &Clock, entity: &str) {
    let mut renewed = grants.subscribe();
    loop {
        let until = renewed.borrow_and_update().open_until(entity);
        tokio::select! {
            biased;
            // the sender is borrowed, so this is another token
            _ = renewed.changed() => {}
            () = clock.reaches(until) => return,
        }
    }
}
