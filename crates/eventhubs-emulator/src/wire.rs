//! The stream below the AMQP library: it keeps malformed frames and the inside of messages away from it, completes the lists it
//! writes, and can be cut.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::frame::{FrameCheck, Limits, put_outgoing, split_frame};
use crate::opaque;
use crate::peers::Handles;

/// Frames that wait for the socket; above this the library has to wait.
const MAX_UNSENT: usize = 256 * 1024;
/// How much is read from the socket at once, in bytes.
const READ: usize = 64 * 1024;

pub(crate) struct Wire<S> {
    stream: S,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    mute: CancellationToken,
    limits: Limits,
    check: FrameCheck,
    /// What came of a frame that is not whole; no longer than a frame may be, and one read.
    incoming: BytesMut,
    /// Whole frames that the library has not taken.
    ready: BytesMut,
    partial: BytesMut,
    unsent: BytesMut,
}

impl<S> Wire<S> {
    /// Wraps a stream that ends, for the library, when it is cut, and stands still when it is muted.
    pub(crate) fn new(stream: S, limits: Limits, handles: &Handles) -> Self {
        Self {
            stream,
            cut: Box::pin(handles.cut.clone().cancelled_owned()),
            mute: handles.mute.clone(),
            limits,
            check: FrameCheck::new(limits.frame),
            incoming: BytesMut::new(),
            ready: BytesMut::new(),
            partial: BytesMut::new(),
            unsent: BytesMut::new(),
        }
    }

    fn is_cut(&mut self, cx: &mut Context<'_>) -> bool {
        self.cut.as_mut().poll(cx).is_ready()
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> Wire<S> {
    /// Reads once, and prepares the frames that are whole now. Says how many bytes came.
    fn poll_frames(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self { stream, check, incoming, ready, .. } = self;
        let before = incoming.len();
        incoming.reserve(READ);
        let count = ready!(poll_read_buf(Pin::new(stream), cx, incoming))?;
        check.advance(&incoming[before..])?;
        while let Some(frame) = split_frame(incoming) {
            opaque::put_incoming(&frame, ready);
        }
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_cut(cx) {
            return Poll::Ready(Ok(()));
        }
        // the cut wakes it
        if self.mute.is_cancelled() {
            return Poll::Pending;
        }
        while self.ready.is_empty() {
            if ready!(self.poll_frames(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        let taken = buf.remaining().min(self.ready.len());
        buf.put_slice(&self.ready.split_to(taken));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_cut(cx) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.mute.is_cancelled() {
            return Poll::Pending;
        }
        if self.unsent.len() >= MAX_UNSENT {
            ready!(self.poll_drain(cx))?;
        }
        let Self { limits, partial, unsent, .. } = &mut *self;
        partial.extend_from_slice(buf);
        while let Some(frame) = split_frame(partial) {
            put_outgoing(frame, *limits, unsent);
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_cut(cx) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.mute.is_cancelled() {
            return Poll::Pending;
        }
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S> fmt::Debug for Wire<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn wire(handles: &Handles) -> (Wire<DuplexStream>, DuplexStream) {
        let (near, far) = duplex(4096);
        (Wire::new(near, Limits { frame: 1024, message: 1024 }, handles), far)
    }

    #[tokio::test]
    async fn a_malformed_frame_does_not_reach_the_library() {
        let (mut wire, mut client) = wire(&Handles::default());
        client.write_all(b"AMQP\x00\x01\x00\x00").await.unwrap();
        let mut header = [0; 8];
        wire.read_exact(&mut header).await.unwrap();
        client.write_all(b"\x00\x00\x00\x04").await.unwrap();
        let error = wire.read_exact(&mut header).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn frames_are_completed_however_they_are_written() {
        let (mut wire, mut client) = wire(&Handles::default());
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
    async fn a_cut_stream_wakes_its_reader_and_takes_no_more() {
        let handles = Handles::default();
        let (mut wire, _client) = wire(&handles);
        let mut byte = [0];
        let (read, ()) = tokio::join!(wire.read(&mut byte), async { handles.cut.cancel() });
        assert_eq!(read.unwrap(), 0);
        assert!(wire.write_all(b"AMQP").await.is_err());
    }

    #[tokio::test]
    async fn a_mute_stream_stands_still_until_it_is_cut() {
        let handles = Handles::default();
        let (mut wire, mut client) = wire(&handles);
        client.write_all(b"AMQP\x00\x01\x00\x00").await.unwrap();
        handles.mute.cancel();
        let mut byte = [0];
        let (read, ()) = tokio::join!(wire.read(&mut byte), async { handles.cut.cancel() });
        assert_eq!(read.unwrap(), 0);
    }
}
