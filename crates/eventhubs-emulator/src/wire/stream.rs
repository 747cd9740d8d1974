//! The faults of a connection, as a stream over the one of the client and under what keeps malformed frames away from the AMQP library
//! (`eventhubs_amqp_frames::GuardedStream`). Tests: here, and `tests/it/faults.rs`.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use eventhubs_amqp_frames::{GuardedStream, Limits};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::wire::inspector::Inspector;
use crate::wire::pace::Pace;
use crate::wire::shared::Shared;

/// Bytes that are read at once. Larger frames get a buffer of their own: few clients of many send them.
const CHUNK_SIZE: usize = 64 * 1024;

/// What the AMQP library reads and writes.
pub(crate) type ClientStream<S> = GuardedStream<FaultyStream<S>, Inspector>;

/// A stream that does what faults ask for.
#[derive(Debug)]
pub(crate) struct FaultyStream<S> {
    stream: S,
    shared: Arc<Shared>,
    pace: Pace,
}

/// Puts the stream of a client under the AMQP library.
pub(crate) fn client_stream<S>(stream: S, inspector: Inspector, shared: Arc<Shared>) -> ClientStream<S> {
    let switch = shared.switch.clone();
    let limits = Limits::new(inspector.limits.frame).chunk_size(CHUNK_SIZE);
    GuardedStream::new(FaultyStream { stream, shared, pace: Pace::default() }, inspector, switch, limits)
}

impl<S: AsyncRead + Unpin> AsyncRead for FaultyStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Who ends that wakes the task: the kill switch, a link that takes a message, the socket that takes what is unsent.
        if self.shared.holds_reads() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FaultyStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.shared.discards_writes.is_cancelled() {
            // Taken and thrown away instead of pending: the library must not notice, as it would not if the
            // packets were lost on the way.
            return Poll::Ready(Ok(buf.len()));
        }
        let rate = self.shared.pace.load(Ordering::Relaxed);
        let portion = ready!(self.pace.poll_portion(rate, cx)).min(buf.len());
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &buf[..portion]))?;
        self.pace.spent(written, rate);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.shared.discards_writes.is_cancelled() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::sync::watch;

    use super::*;
    use crate::wire::frame;

    fn wire(shared: &Arc<Shared>) -> (ClientStream<DuplexStream>, DuplexStream) {
        let (near, far) = duplex(4096);
        let limits = frame::Limits { frame: 1024, message: 1024 };
        let starved = watch::Sender::default().subscribe();
        let inspector = Inspector::new(Arc::clone(shared), starved, limits, Duration::ZERO);
        (client_stream(near, inspector, Arc::clone(shared)), far)
    }

    #[tokio::test]
    async fn a_malformed_frame_does_not_reach_the_library() {
        let (mut wire, mut client) = wire(&Arc::default());
        client.write_all(b"AMQP\x00\x01\x00\x00").await.unwrap();
        let mut header = [0; 8];
        wire.read_exact(&mut header).await.unwrap();
        client.write_all(b"\x00\x00\x00\x04").await.unwrap();
        let error = wire.read_exact(&mut header).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn frames_are_completed_however_they_are_written() {
        let (mut wire, mut client) = wire(&Arc::default());
        for byte in b"\x00\x00\x00\x0c\x02\x00\x00\x00\x00\x53\x18\x45" {
            wire.write_all(&[*byte]).await.unwrap();
        }
        wire.flush().await.unwrap();
        let mut close = [0; 21];
        client.read_exact(&mut close).await.unwrap();
        assert_eq!(close[8..12], [0, 0x53, 0x18, 0xd0]);
        assert_eq!(close[20], 0x40);
    }

    #[tokio::test]
    async fn a_refusal_goes_out_with_its_reason() {
        let (mut wire, mut client) = wire(&Arc::default());
        let attach = b"\x00\x00\x00\x16\x02\x00\x00\x00\x00\x53\x12\xc0\x09\x05\xa1\x01n\x52\x00\x42\x40\x40";
        let detach = b"\x00\x00\x00\x0c\x02\x00\x00\x00\x00\x53\x16\x45";
        wire.write_all(attach).await.unwrap();
        wire.flush().await.unwrap();
        let mut both = [0; 4096];
        assert!(client.read(&mut both).now_or_never().is_none());
        wire.write_all(detach).await.unwrap();
        wire.flush().await.unwrap();
        let read = client.read(&mut both).await.unwrap();
        assert_eq!(both[read - 3..read], [0x40; 3]);
    }

    #[tokio::test]
    async fn a_cut_stream_wakes_its_reader_and_takes_no_more() {
        let shared = Arc::<Shared>::default();
        let (mut wire, _client) = wire(&shared);
        let mut byte = [0];
        let (read, ()) = tokio::join!(wire.read(&mut byte), async { shared.switch.pull() });
        assert_eq!(read.unwrap(), 0);
        assert!(wire.write_all(b"AMQP").await.is_err());
    }

    #[tokio::test]
    async fn a_stream_that_reads_nothing_ends_when_it_is_cut() {
        let shared = Arc::<Shared>::default();
        let (mut wire, mut client) = wire(&shared);
        client.write_all(b"AMQP\x00\x01\x00\x00").await.unwrap();
        shared.reads_nothing.cancel();
        let mut byte = [0];
        let (read, ()) = tokio::join!(wire.read(&mut byte), async { shared.switch.pull() });
        assert_eq!(read.unwrap(), 0);
    }
}
