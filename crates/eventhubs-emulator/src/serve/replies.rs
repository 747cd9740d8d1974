//! The request nodes of one connection, and where their responses go. Who answers: `node.rs`.

use std::sync::Mutex;

use tokio::sync::mpsc;

use crate::condition::{Condition, NOT_ALLOWED};
use crate::event::message::AnyMessage;
use crate::sync::lock;

/// Responses that wait for the credit of one client.
const MAX_WAITING_RESPONSES: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    Cbs,
    Management,
}

impl Node {
    pub(crate) fn address(self) -> &'static str {
        match self {
            Self::Cbs => "$cbs",
            Self::Management => "$management",
        }
    }
}

/// Where the responses of one connection go.
#[derive(Debug, Default)]
pub(crate) struct ReplyLinks(Mutex<Vec<ReplyLink>>);

#[derive(Debug)]
struct ReplyLink {
    node: Node,
    session: u64,
    /// What a request may name as its `reply-to`: the target address or the name of the link.
    names: [String; 2],
    responses: mpsc::Sender<AnyMessage>,
}

impl ReplyLinks {
    /// Opens the way for responses.
    ///
    /// # Errors
    /// When the node is `$cbs` and the connection has one already (docs/contract.md §3.1).
    pub(crate) fn open(
        &self,
        node: Node,
        session: u64,
        names: [String; 2],
    ) -> Result<mpsc::Receiver<AnyMessage>, Condition> {
        let mut links = lock(&self.0);
        // A link ends without telling this list, and `$cbs` may be opened again after that.
        links.retain(|link| !link.responses.is_closed());
        if node == Node::Cbs && links.iter().any(|link| link.node == Node::Cbs) {
            return Err(Condition::new(NOT_ALLOWED, "$cbs node has already been opened."));
        }
        let (responses, receiver) = mpsc::channel(MAX_WAITING_RESPONSES);
        links.push(ReplyLink { node, session, names, responses });
        Ok(receiver)
    }

    /// The link that a request names, else one on its session, else any of the connection.
    pub(crate) fn find(
        &self,
        node: Node,
        session: u64,
        reply_to: Option<&str>,
    ) -> Option<mpsc::Sender<AnyMessage>> {
        let links = lock(&self.0);
        let all = || links.iter().filter(|link| link.node == node);
        let named =
            reply_to.and_then(|reply_to| all().find(|link| link.names.iter().any(|name| name == reply_to)));
        let link = named.or_else(|| all().find(|link| link.session == session)).or_else(|| all().next())?;
        Some(link.responses.clone())
    }
}
