//! The stream below the AMQP library: it keeps malformed frames and the inside of messages away from it, completes the lists it
//! writes, and can be cut.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::wire::frame::{FrameCheck, missing, split_frame};
use crate::wire::frame_writer::MAX_UNSENT;
use crate::wire::inspector::Inspector;
use crate::wire::pace::Pace;
use crate::wire::shared::Shared;

/// As many bytes of outcomes and credit may wait for a client that sends and does not read; above this nothing more of it is read. A
/// client that reads stays below: of messages no more wait than [`MAX_UNSENT`].
const MAX_UNREAD: usize = 4 * MAX_UNSENT;
/// Bytes that are read at once.
const READ_SIZE: usize = 64 * 1024;

pub(crate) struct ClientStream<S> {
    stream: S,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    shared: Arc<Shared>,
    inspector: Inspector,
    check: FrameCheck,
    pace: Pace,
    /// From the client, up to a whole frame.
    arriving: BytesMut,
    /// For the library, in whole frames.
    arrived: BytesMut,
    /// From the library, up to a whole frame.
    partial: BytesMut,
    /// For the client, in whole frames.
    unsent: BytesMut,
}

impl<S> ClientStream<S> {
    /// Wraps a stream that ends, for the library, when it is cut, and suffers what the line is told to do wrong.
    pub(crate) fn new(stream: S, inspector: Inspector, shared: Arc<Shared>) -> Self {
        Self {
            stream,
            cut: Box::pin(shared.cut.clone().cancelled_owned()),
            shared,
            check: FrameCheck::new(inspector.limits.frame),
            inspector,
            pace: Pace::default(),
            arriving: BytesMut::new(),
            arrived: BytesMut::new(),
            partial: BytesMut::new(),
            unsent: BytesMut::new(),
        }
    }

    fn is_cut(&mut self, cx: &mut Context<'_>) -> bool {
        self.cut.as_mut().poll(cx).is_ready()
    }
}

impl<S: AsyncWrite + Unpin> ClientStream<S> {
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let rate = self.shared.pace.load(Ordering::Relaxed);
            let portion = ready!(self.pace.poll_portion(rate, cx)).min(self.unsent.len());
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent[..portion]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.pace.spent(written, rate);
            self.unsent.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> ClientStream<S> {
    /// Writes what the library knows nothing of, until nothing is left or the socket takes no more. It then wakes the reader again.
    fn write_unasked(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while !self.shared.discards_writes.is_cancelled() {
            self.inspector.unasked(&mut self.unsent);
            if self.unsent.is_empty() || self.poll_out(cx)?.is_pending() {
                break;
            }
        }
        Ok(())
    }

    /// Reads until there is a whole frame, or the end of the stream.
    fn poll_arrive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // Before the look for what to write, or what comes in between would wake nobody.
            self.inspector.register(cx.waker());
            if !self.arrived.is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.write_unasked(cx)?;
            // The cut wakes it, the link that takes what waits, or the socket that takes what is unsent.
            if self.shared.reads_nothing.is_cancelled()
                || self.inspector.is_full()
                || self.unsent.len() >= MAX_UNREAD
            {
                return Poll::Pending;
            }
            self.arriving.reserve(READ_SIZE.max(missing(&self.arriving)));
            let read = ready!(poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.arriving))?;
            if read == 0 {
                return Poll::Ready(Ok(()));
            }
            self.shared.note_read();
            self.check.advance(&self.arriving[self.arriving.len() - read..])?;
            while let Some(frame) = split_frame(&mut self.arriving) {
                self.inspector.incoming(frame, &mut self.arrived)?;
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ClientStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_cut(cx) {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_arrive(cx))?;
        let size = self.arrived.len().min(buf.remaining());
        buf.put_slice(&self.arrived.split_to(size));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ClientStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_cut(cx) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.shared.discards_writes.is_cancelled() {
            return Poll::Ready(Ok(buf.len()));
        }
        if self.unsent.len() >= MAX_UNSENT {
            ready!(self.poll_drain(cx))?;
        }
        let Self { partial, unsent, inspector, .. } = &mut *self;
        partial.extend_from_slice(buf);
        while let Some(frame) = split_frame(partial) {
            inspector.outgoing(frame, unsent);
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_cut(cx) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.shared.discards_writes.is_cancelled() {
            return Poll::Ready(Ok(()));
        }
        self.poll_out(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S> fmt::Debug for ClientStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientStream").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::sync::watch;

    use super::*;
    use crate::wire::frame::Limits;

    fn wire(shared: &Arc<Shared>) -> (ClientStream<DuplexStream>, DuplexStream) {
        let (near, far) = duplex(4096);
        let limits = Limits { frame: 1024, message: 1024 };
        let starved = watch::Sender::default().subscribe();
        let inspector = Inspector::new(Arc::clone(shared), starved, limits, Duration::ZERO);
        (ClientStream::new(near, inspector, Arc::clone(shared)), far)
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
        let (read, ()) = tokio::join!(wire.read(&mut byte), async { shared.cut.cancel() });
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
        let (read, ()) = tokio::join!(wire.read(&mut byte), async { shared.cut.cancel() });
        assert_eq!(read.unwrap(), 0);
    }
}
