//! The stream below the AMQP library: it keeps malformed frames away from it, completes the lists it writes, and can be
//! cut.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::frame::{FrameCheck, pad_frame, refuses_link, split_frame};
use crate::peers::Handles;

/// Frames that wait for the socket; above this the library has to wait.
const MAX_UNSENT: usize = 256 * 1024;

pub(crate) struct Wire<S> {
    stream: S,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    mute: CancellationToken,
    check: FrameCheck,
    partial: BytesMut,
    unsent: BytesMut,
    /// The last frame refuses a link. It waits for the detach that says why: a client that sees it alone may detach
    /// first, and is never told.
    held: bool,
}

impl<S> Wire<S> {
    /// Wraps a stream that ends, for the library, when it is cut, and stands still when it is muted.
    pub(crate) fn new(stream: S, max_frame_size: u32, handles: &Handles) -> Self {
        Self {
            stream,
            cut: Box::pin(handles.cut.clone().cancelled_owned()),
            mute: handles.mute.clone(),
            check: FrameCheck::new(max_frame_size),
            partial: BytesMut::new(),
            unsent: BytesMut::new(),
            held: false,
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
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        Poll::Ready(self.check.advance(&buf.filled()[before..]))
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
        let Self { partial, unsent, held, .. } = &mut *self;
        partial.extend_from_slice(buf);
        while let Some(frame) = split_frame(partial) {
            *held = refuses_link(&frame);
            pad_frame(&frame, unsent);
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
        if self.held {
            return Poll::Ready(Ok(()));
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
    use futures::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn wire(handles: &Handles) -> (Wire<DuplexStream>, DuplexStream) {
        let (near, far) = duplex(4096);
        (Wire::new(near, 1024, handles), far)
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
    async fn a_refusal_goes_out_with_its_reason() {
        let (mut wire, mut client) = wire(&Handles::default());
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
