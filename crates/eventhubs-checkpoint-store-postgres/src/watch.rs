//! Hears of claims that others announce, on a connection of its own.

use std::fmt::Write as _;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use eventhubs_checkpoint_store::{Audience, BoxStream, Hint};
use eventhubs_types::{ConsumerScope, OwnerId, PartitionId};
use futures_util::future::poll_fn;
use futures_util::{StreamExt as _, stream};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_postgres::{AsyncMessage, Client, Notification};

use crate::announcer::{Announcer, notify};
use crate::call::{Database, Failure, OwnConnection};

/// How many hints wait for whoever reads them. What does not fit is dropped: a hint may be missed.
const MAX_WAITING: usize = 256;

/// The longest text of a notification, in bytes.
const MAX_PAYLOAD: usize = 200;

/// How long a message to itself may take until it counts as lost.
const ECHO_LIMIT: Duration = Duration::from_secs(2);

/// How long after a message to itself was lost the next one is sent.
const DEAF_PAUSE: Duration = Duration::from_secs(300);

/// How long a silent connection is believed in.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// The pause before the first reconnect; each later one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause before a reconnect.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The channel of a scope. Schemas of one database do not share channels.
pub(crate) fn channel(schema: &str, scope: &ConsumerScope) -> String {
    // No name has a control character, so that two different lists of names cannot be joined to one text.
    let text = format!("{schema}\n{}", scope.to_lowercase());
    let mut name = "eventhubs_".to_owned();
    for byte in Sha256::digest(text.as_bytes()).iter().take(8) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// What a notification says. One that would be too long for its addressee is for everyone.
pub(crate) fn payload(partition: &PartitionId, audience: &Audience) -> String {
    match audience {
        Audience::Owner(owner) if partition.as_str().len() + owner.as_str().len() < MAX_PAYLOAD => {
            format!("{partition}\n{owner}")
        }
        _ => partition.to_string(),
    }
}

fn hint(payload: &str) -> Option<Hint> {
    let (partition, owner) = match payload.split_once('\n') {
        Some((partition, owner)) => (partition, Some(OwnerId::new(owner).ok()?)),
        None => (payload, None),
    };
    Some(Hint::new(PartitionId::new(partition).ok()?, owner.map_or(Audience::Everyone, Audience::Owner)))
}

/// The hints of a channel. The connection begins when the stream is first polled, and ends when it is
/// dropped.
pub(crate) fn hints(
    database: Arc<Database>,
    announcer: Arc<Announcer>,
    channel: String,
) -> BoxStream<'static, Hint> {
    let begun = stream::once(async move {
        // Whoever watches announces too.
        announcer.begin();
        let (sender, hints) = mpsc::channel(MAX_WAITING);
        let mut task = JoinSet::new();
        task.spawn(listen_forever(database, channel, sender));
        stream::unfold((hints, task), async |(mut hints, task)| {
            let hint = hints.recv().await;
            hint.map(|hint| (hint, (hints, task)))
        })
    });
    begun.flatten().chain(stream::pending()).boxed()
}

async fn listen_forever(database: Arc<Database>, channel: String, hints: mpsc::Sender<Hint>) {
    let (mut pause, mut is_warned) = (FIRST_PAUSE, false);
    loop {
        match listen(&database, &channel, &hints).await {
            Ended::Deaf => {
                if !std::mem::replace(&mut is_warned, true) {
                    tracing::warn!(
                        "notifications of PostgreSQL do not arrive, so partitions are taken over at the next look: most \
                         likely the connection goes through a pooler of transactions, as PgBouncer is, which does \
                         not keep LISTEN; connect to the server itself to hear of them at once"
                    );
                }
                pause = FIRST_PAUSE;
                sleep(DEAF_PAUSE).await;
            }
            Ended::Failed { failure, was_heard } => {
                pause = if was_heard { FIRST_PAUSE } else { (pause * 2).min(MAX_PAUSE) };
                let error = failure.during("listen to announced claims");
                tracing::debug!(%error, ?pause, "notifications are interrupted");
                sleep(jittered(pause)).await;
            }
        }
    }
}

/// Why listening ended.
enum Ended {
    /// A message to itself did not arrive.
    Deaf,
    /// The connection could not be made, or broke.
    Failed { failure: Failure, was_heard: bool },
}

async fn listen(database: &Database, channel: &str, hints: &mpsc::Sender<Hint>) -> Ended {
    let failed = |failure, was_heard| Ended::Failed { failure, was_heard };
    let (client, connection) = match database.connect_alone().await {
        Ok(connected) => connected,
        Err(failure) => return failed(failure, false),
    };
    let (sender, mut notifications) = mpsc::channel(MAX_WAITING);
    let mut driver = JoinSet::new();
    driver.spawn(drive(connection, sender));
    match hears_itself(database, &client, &mut notifications).await {
        Ok(true) => {}
        Ok(false) => return Ended::Deaf,
        Err(failure) => return failed(failure, false),
    }
    if let Err(failure) = in_time(database, client.batch_execute(&format!("LISTEN {channel}"))).await {
        return failed(failure, false);
    }
    // What was announced before this moment is missed, but whoever watches looks into the store anyway.
    failed(pass_on(database, &client, channel, &mut notifications, hints).await, true)
}

/// Passes hints on for as long as the connection lasts.
async fn pass_on(
    database: &Database,
    client: &Client,
    channel: &str,
    notifications: &mut mpsc::Receiver<Notification>,
    hints: &mpsc::Sender<Hint>,
) -> Failure {
    loop {
        match timeout(IDLE_LIMIT, notifications.recv()).await {
            Ok(Some(notification)) if notification.channel() == channel => {
                if let Some(hint) = hint(notification.payload()) {
                    let _ = hints.try_send(hint);
                }
            }
            Ok(Some(_)) => {}
            // Gone: the next statement says why. Silent: it says whether the server is still there.
            Ok(None) | Err(_) => {
                if let Err(failure) = in_time(database, client.batch_execute("SELECT 1")).await {
                    return failure;
                }
            }
        }
    }
}

/// Whether a message to itself arrives. It is sent on another connection: a pooler would deliver it with the
/// answer to the statement that sends it. Its channel is used once, for a pooler keeps listening to it.
async fn hears_itself(
    database: &Database,
    client: &Client,
    notifications: &mut mpsc::Receiver<Notification>,
) -> Result<bool, Failure> {
    let echo = format!("eventhubs_echo_{:016x}", random());
    in_time(database, client.batch_execute(&format!("LISTEN {echo}"))).await?;
    let (other, connection) = database.connect_alone().await?;
    let mut driver = JoinSet::new();
    driver.spawn(async move { drop(connection.await) });
    in_time(database, notify(&other, vec![(echo.clone(), String::new())])).await?;
    let arrival = async {
        while let Some(notification) = notifications.recv().await {
            if notification.channel() == echo {
                return Ok(true);
            }
        }
        Err(Failure::Timeout)
    };
    let is_heard = timeout(ECHO_LIMIT, arrival).await.unwrap_or(Ok(false))?;
    in_time(database, client.batch_execute(&format!("UNLISTEN {echo}"))).await?;
    Ok(is_heard)
}

/// Drives the connection. It never waits for whoever reads: the server keeps notifications for all of its
/// clients until the slowest of them has taken them.
async fn drive(mut connection: OwnConnection, notifications: mpsc::Sender<Notification>) {
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notification(notification) = message {
            let _ = notifications.try_send(notification);
        }
    }
}

async fn in_time<T>(
    database: &Database,
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Failure> {
    match timeout(database.call_timeout(), work).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(Failure::Timeout),
    }
}

/// Half of the pause up to all of it, so that instances do not come back at the same moment.
fn jittered(pause: Duration) -> Duration {
    let part = u32::try_from(random() % 512).unwrap_or_default();
    pause / 2 + pause / 1024 * part
}

/// The keys of a `RandomState` differ each time, which is all that is needed here.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(group: &str) -> ConsumerScope {
        ConsumerScope::new("n.example.net".parse().unwrap(), "hub".parse().unwrap(), group.parse().unwrap())
    }

    #[test]
    fn a_channel_is_a_short_name_of_schema_and_scope_in_any_case() {
        let name = channel("eventhubs", &scope("Group"));
        assert_eq!(name.len(), "eventhubs_".len() + 16);
        assert_eq!(name, channel("eventhubs", &scope("group")));
        assert_ne!(name, channel("other", &scope("group")));
        assert_ne!(name, channel("eventhubs", &scope("group2")));
    }

    #[test]
    fn a_payload_is_read_back_and_is_never_long() {
        let (partition, longest) =
            (PartitionId::new("7").unwrap(), PartitionId::new("9".repeat(128)).unwrap());
        let owner = |length| Audience::Owner(OwnerId::new("o".repeat(length)).unwrap());
        for (partition, audience, expected) in [
            (&partition, Audience::Everyone, Audience::Everyone),
            (&partition, owner(36), owner(36)),
            (&partition, owner(256), Audience::Everyone),
            (&longest, owner(71), owner(71)),
            (&longest, owner(72), Audience::Everyone),
        ] {
            let payload = payload(partition, &audience);
            assert!(payload.len() <= MAX_PAYLOAD, "{payload}");
            assert_eq!(hint(&payload), Some(Hint::new(partition.clone(), expected)));
        }
    }

    #[test]
    fn what_others_send_on_the_channel_is_no_hint() {
        for payload in ["", "\n", "0\n", "a/b", "\u{7}"] {
            assert_eq!(hint(payload), None, "{payload:?}");
        }
    }

    #[test]
    fn a_pause_is_shortened_by_half_at_most() {
        for _ in 0..100 {
            let pause = jittered(MAX_PAUSE);
            assert!((MAX_PAUSE / 2..MAX_PAUSE).contains(&pause), "{pause:?}");
        }
    }
}
