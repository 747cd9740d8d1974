//! What clients asked of `$cbs` and `$management`, for tests to look at.

use std::collections::VecDeque;
use std::sync::Mutex;

use crate::sync::lock;

/// How many requests are kept; the oldest go first.
const MAX_REQUESTS: usize = 1024;

/// A request to a node of the namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedRequest {
    /// The connection that it came over; see [`ConnectedClient::id`](crate::ConnectedClient::id).
    pub connection_id: u64,
    /// `$cbs` or `$management`.
    pub node: &'static str,
    /// `put-token` or `READ`, if the client keeps to the contract.
    pub operation: String,
    /// The audience of a token, or the event hub that is read.
    pub name: String,
    /// The partition that is read, if it is not the hub itself.
    pub partition_id: Option<String>,
    /// The status of the answer; `None` when it was dropped.
    pub status: Option<i32>,
}

#[derive(Debug, Default)]
pub(crate) struct RequestLog(Mutex<VecDeque<ReceivedRequest>>);

impl RequestLog {
    pub(crate) fn push(&self, request: ReceivedRequest) {
        let mut requests = lock(&self.0);
        if requests.len() == MAX_REQUESTS {
            requests.pop_front();
        }
        requests.push_back(request);
    }

    pub(crate) fn all(&self) -> Vec<ReceivedRequest> {
        lock(&self.0).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_requests_go_first() {
        let log = RequestLog::default();
        for connection_id in 0..=1024 {
            log.push(ReceivedRequest {
                connection_id,
                node: "$cbs",
                operation: "put-token".into(),
                name: String::new(),
                partition_id: None,
                status: Some(202),
            });
        }
        let all = log.all();
        assert_eq!((all.len(), all[0].connection_id), (MAX_REQUESTS, 1));
    }
}
