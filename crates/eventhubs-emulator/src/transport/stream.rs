//! A stream of any make, and a look at its first byte.

use tokio::io::{AsyncRead, AsyncWrite};

/// A stream of any make.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub(crate) type AnyStream = Box<dyn Stream>;

/// The stream again, and whether it starts with this byte. Waits for the first byte.
#[cfg(any(feature = "tls", feature = "websocket"))]
pub(crate) async fn starts_with(stream: AnyStream, byte: u8) -> std::io::Result<(AnyStream, bool)> {
    use tokio::io::{AsyncBufReadExt, BufReader};

    let mut stream = BufReader::new(stream);
    let found = stream.fill_buf().await?.first() == Some(&byte);
    Ok((Box::new(stream), found))
}
