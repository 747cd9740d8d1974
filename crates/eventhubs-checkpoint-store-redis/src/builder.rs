//! The options of a store.

use std::fmt;
use std::time::Duration;

use eventhubs_checkpoint_store::{Error, ErrorKind, Result};
use secrecy::SecretString;
use tokio::runtime::Handle;

use crate::link::{Link, Target};
use crate::look::Seen;
use crate::names::{DEFAULT_KEY_PREFIX, Names};
use crate::nodes::{Credentials, Nodes};
use crate::replicas::{Replicas, WaitForReplicas};
use crate::scripts::Scripts;
use crate::shared::Shared;
use crate::store::RedisCheckpointStore;

/// How long one call of the store may take, unless
/// [`call_timeout`](RedisCheckpointStoreBuilder::call_timeout) says otherwise.
pub const DEFAULT_CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest time limit of a call, so that no deadline is beyond what the clock can count.
const MAX_CALL_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// Options of a [`RedisCheckpointStore`].
#[derive(Clone)]
pub struct RedisCheckpointStoreBuilder {
    urls: Vec<SecretString>,
    is_cluster: bool,
    credentials: Option<Credentials>,
    authorities: Option<Vec<u8>>,
    key_prefix: String,
    call_timeout: Duration,
    wait: Option<WaitForReplicas>,
}

impl RedisCheckpointStoreBuilder {
    /// The user of the access control list and its password, instead of those in the URL. Default: those in the URL,
    /// or none.
    ///
    /// What the user must be allowed to do is in the [documentation of the crate](crate#access-control).
    #[must_use]
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        let password = SecretString::from(password.into());
        self.credentials = Some(Credentials { user: user.into(), password });
        self
    }

    /// The certificates of the authorities to trust, in PEM format, instead of those of the operating system.
    /// Default: those of the operating system.
    #[must_use]
    pub fn certificate_authorities(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities = Some(pem.into());
        self
    }

    /// What all keys and channels begin with, so that several fleets may share a server: 1 to 64 letters, digits, `-`,
    /// `_`, `.` and `:`. Default: `eventhubs`.
    #[must_use]
    pub fn key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.key_prefix = prefix.into();
        self
    }

    /// How long one call may take, between 1 ms and 1 hour, connecting included. Default: 10 seconds.
    #[must_use]
    pub fn call_timeout(mut self, limit: Duration) -> Self {
        self.call_timeout = limit;
        self
    }

    /// Waits after each claim that gives a partition a new owner, and after each checkpoint, until this many replicas
    /// have it: at least 1, within `limit`, which is between 1 ms and the time limit of a call. If there are too few,
    /// the call fails with [`Timeout`](ErrorKind::Timeout), and may have been applied. Default: does not wait.
    ///
    /// It makes a fail-over lose less, and not nothing: Redis may still promote a replica that has less.
    #[must_use]
    pub fn wait_for_replicas(mut self, count: usize, limit: Duration) -> Self {
        self.wait = Some(WaitForReplicas { count, limit });
        self
    }

    /// Connects, and logs a warning for each of the settings of the server that may lose checkpoints.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) names the option that is wrong.
    /// [`Unauthorized`](ErrorKind::Unauthorized): the server refuses the user or the password. The other kinds as
    /// those of any call.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    ///
    /// # Cancel safety
    /// If dropped, nothing has happened.
    pub async fn connect(self) -> Result<RedisCheckpointStore> {
        self.check()?;
        let names = Names::new(self.key_prefix)?;
        let nodes = Nodes::new(&self.urls, self.credentials.as_ref(), self.authorities, self.is_cluster)?;
        let link = Link::new(nodes.target()?, self.call_timeout);
        let seen = match Seen::look(&link).await {
            Err(error) if self.is_cluster => return Err(reason(&nodes, self.call_timeout, error).await),
            seen => seen?,
        };
        seen.check(self.is_cluster)?;
        seen.warn(&nodes.to_string());
        let waiting = |wait| Ok(Replicas::new(Link::new(nodes.target()?, self.call_timeout), wait));
        let replicas = self.wait.map(waiting).transpose()?;
        let publish = if self.is_cluster && seen.is_sharded() { "SPUBLISH" } else { "PUBLISH" };
        let (scripts, runtime) = (Scripts::new(), Handle::current());
        Ok(RedisCheckpointStore::new(Shared { link, replicas, scripts, nodes, names, publish, runtime }))
    }

    fn check(&self) -> Result<()> {
        check_between("call_timeout", self.call_timeout, MAX_CALL_TIMEOUT)?;
        let Some(wait) = self.wait else { return Ok(()) };
        if wait.count == 0 {
            return Err(Error::new(ErrorKind::InvalidArgument, "wait_for_replicas: the count is 0"));
        }
        check_between("wait_for_replicas", wait.limit, self.call_timeout)
    }
}

impl fmt::Debug for RedisCheckpointStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCheckpointStoreBuilder")
            .field("urls", &self.urls)
            .field("is_cluster", &self.is_cluster)
            .field("credentials", &self.credentials)
            .field("key_prefix", &self.key_prefix)
            .field("call_timeout", &self.call_timeout)
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}

impl RedisCheckpointStore {
    /// Connects to the server at this URL: `redis://host:port/database`, or `rediss://` for TLS, with
    /// `user:password@` or `:password@` in front of the host if it asks for one.
    ///
    /// # Errors
    /// As [`RedisCheckpointStoreBuilder::connect`].
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    ///
    /// # Cancel safety
    /// As [`RedisCheckpointStoreBuilder::connect`].
    pub async fn connect(url: impl Into<String>) -> Result<Self> {
        Self::builder(url).connect().await
    }

    /// As [`connect`](Self::connect), with options.
    pub fn builder(url: impl Into<String>) -> RedisCheckpointStoreBuilder {
        RedisCheckpointStoreBuilder::new([url.into()], false)
    }

    /// A cluster, whose nodes are asked for all others. All URLs have the same scheme and credential.
    pub fn cluster_builder(urls: impl IntoIterator<Item = impl Into<String>>) -> RedisCheckpointStoreBuilder {
        RedisCheckpointStoreBuilder::new(urls.into_iter().map(Into::into), true)
    }
}

impl RedisCheckpointStoreBuilder {
    fn new(urls: impl IntoIterator<Item = String>, is_cluster: bool) -> Self {
        Self {
            urls: urls.into_iter().map(SecretString::from).collect(),
            is_cluster,
            credentials: None,
            authorities: None,
            key_prefix: DEFAULT_KEY_PREFIX.to_owned(),
            call_timeout: DEFAULT_CALL_TIMEOUT,
            wait: None,
        }
    }
}

/// Returns why a cluster is not there: the driver says of any reason that it found no node, so the first one is asked
/// by itself.
async fn reason(nodes: &Nodes, limit: Duration, error: Error) -> Error {
    let Ok(client) = nodes.client() else { return error };
    let checked = Seen::look(&Link::new(Target::Server(Box::new(client)), limit))
        .await
        .and_then(|seen| seen.check(true));
    checked.err().filter(|reason| !reason.is_transient()).unwrap_or(error)
}

fn check_between(option: &str, limit: Duration, longest: Duration) -> Result<()> {
    if limit >= Duration::from_millis(1) && limit <= longest {
        return Ok(());
    }
    let text = format!("{option}: {limit:?} is not between 1 ms and {longest:?}");
    Err(Error::new(ErrorKind::InvalidArgument, text))
}
