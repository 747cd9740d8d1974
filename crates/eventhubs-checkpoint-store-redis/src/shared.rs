//! What all operations of a store use.

use tokio::runtime::Handle;

use crate::link::Link;
use crate::names::Names;
use crate::nodes::Nodes;
use crate::replicas::Replicas;
use crate::scripts::Scripts;

/// What the handles have in common.
pub(crate) struct Shared {
    pub(crate) link: Link,
    pub(crate) replicas: Option<Replicas>,
    pub(crate) scripts: Scripts,
    pub(crate) nodes: Nodes,
    pub(crate) names: Names,
    /// The command that hints are published with.
    pub(crate) publish: &'static str,
    /// Where those who watch have their tasks, since `watch` may be called from anywhere.
    pub(crate) runtime: Handle,
}
