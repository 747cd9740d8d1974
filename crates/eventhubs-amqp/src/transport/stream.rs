//! The byte streams that AMQP is spoken over.

use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream to the broker.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Io for S {}
