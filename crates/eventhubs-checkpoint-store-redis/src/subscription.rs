//! A subscription to one channel, on a connection of its own.

use eventhubs_checkpoint_store::Result;
use futures_util::StreamExt as _;
use redis::aio::{PubSubSink, PubSubStream};
use redis::cluster_async::ClusterConnection;
use redis::{Msg, PushInfo, RedisResult};
use tokio::sync::mpsc;

use crate::error;
use crate::link::{Connection, Link};
use crate::shared::Shared;

/// How many messages of a cluster wait for the task that passes them on; those that come on top are missed.
const MAX_WAITING: usize = 256;

const CONTEXT: &str = "subscribe to hints";

/// An open subscription.
pub(crate) enum Subscription {
    Server {
        sink: PubSubSink,
        stream: PubSubStream,
    },
    // The driver subscribes again by itself where a node goes, or the slot moves.
    Cluster {
        connection: ClusterConnection,
        pushes: mpsc::Receiver<PushInfo>,
        channel: String,
        is_sharded: bool,
    },
}

impl Subscription {
    pub(crate) async fn open(shared: &Shared, channel: &str) -> Result<Self> {
        if shared.nodes.is_cluster() {
            Self::open_cluster(shared, channel).await
        } else {
            Self::open_server(shared, channel).await.map_err(|source| error::of(CONTEXT, &source))
        }
    }

    async fn open_server(shared: &Shared, channel: &str) -> RedisResult<Self> {
        let client = shared.nodes.client().map_err(|_| wrong_kind())?;
        let (mut sink, stream) = client.get_async_pubsub().await?.split();
        sink.subscribe(channel).await?;
        Ok(Self::Server { sink, stream })
    }

    async fn open_cluster(shared: &Shared, channel: &str) -> Result<Self> {
        let (sender, pushes) = mpsc::channel(MAX_WAITING);
        // A hint too many is missed, which the contract allows; the driver must not wait here.
        let target = shared.nodes.subscriber(move |push| sender.try_send(push))?;
        let link = Link::new(target, shared.link.limit());
        let (channel, is_sharded) = (channel.to_owned(), shared.publish == "SPUBLISH");
        let subscribe = async |connection| match connection {
            Connection::Cluster(mut connection) => {
                subscribe(&mut connection, &channel, is_sharded).await.map(|()| connection)
            }
            Connection::Server(_) => Err(wrong_kind()),
        };
        let connection = link.call(CONTEXT, subscribe).await?;
        Ok(Self::Cluster { connection, pushes, channel, is_sharded })
    }

    /// The next message of the channel; `None` when the connection is gone.
    ///
    /// # Cancel safety
    /// If dropped, no message is lost.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Server { stream, .. } => Some(stream.next().await?.get_payload_bytes().to_vec()),
            Self::Cluster { pushes, .. } => loop {
                if let Some(message) = Msg::from_push_info(pushes.recv().await?) {
                    return Some(message.get_payload_bytes().to_vec());
                }
            },
        }
    }

    /// Fails when nobody is at the other end any more.
    pub(crate) async fn check(&mut self) -> RedisResult<()> {
        match self {
            Self::Server { sink, .. } => sink.ping::<redis::Value>().await.map(drop),
            // What is subscribed already may be so again; the command goes to whoever has the slot now.
            Self::Cluster { connection, channel, is_sharded, .. } => {
                subscribe(connection, channel, *is_sharded).await
            }
        }
    }
}

async fn subscribe(connection: &mut ClusterConnection, channel: &str, is_sharded: bool) -> RedisResult<()> {
    if is_sharded { connection.ssubscribe(channel).await } else { connection.subscribe(channel).await }
}

/// The error of a connection of the wrong kind, which `Nodes` does not make.
fn wrong_kind() -> redis::RedisError {
    redis::RedisError::from((redis::ErrorKind::InvalidClientConfig, "the nodes are not of this kind"))
}
