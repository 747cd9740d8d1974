//! The stream that fe2o3-amqp reads and writes: ours, so that its dangers are contained here (amqp-crate §4).

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::frame::{Inspector, MAX_FRAME_SIZE};

/// How much is asked of the socket at once: whole frames must fit.
const READ_CHUNK: usize = MAX_FRAME_SIZE as usize;

/// A frame without a body, which tells the peer that we are alive.
const EMPTY_FRAME: [u8; 8] = [0, 0, 0, 8, 2, 0, 0, 0];

/// Ends a connection from outside: its reads come to an end at once and its writes fail.
///
/// fe2o3-amqp spins a core while it waits for a peer that does not answer its close, for ever if the handles are gone,
/// and its task cannot be aborted; an end of file is what stops it.
#[derive(Clone, Default)]
pub(crate) struct KillSwitch(Arc<Shared>);

#[derive(Default)]
struct Shared {
    killed: AtomicBool,
    reader: AtomicWaker,
    last_read: Mutex<Option<Instant>>,
}

impl KillSwitch {
    pub(crate) fn pull(&self) {
        self.0.killed.store(true, Ordering::Release);
        self.0.reader.wake();
    }

    pub(crate) fn is_pulled(&self) -> bool {
        self.0.killed.load(Ordering::Acquire)
    }

    /// When the peer last sent anything.
    pub(crate) fn last_read(&self) -> Option<Instant> {
        *self.0.last_read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_read(&self) {
        *self.0.last_read.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

impl fmt::Debug for KillSwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KillSwitch")
            .field("pulled", &self.is_pulled())
            .finish()
    }
}

/// Passes only checked frames up, keeps the connection alive, and obeys the [`KillSwitch`].
pub(crate) struct GuardedStream<S> {
    inner: S,
    switch: KillSwitch,
    inspector: Inspector,
    incoming: BytesMut,
    /// How many bytes at the front of `incoming` are checked.
    checked: usize,
    outgoing: FrameEnds,
    last_write: Instant,
    /// What is left to write of an empty frame of ours.
    keep_alive: &'static [u8],
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> GuardedStream<S> {
    pub(crate) fn new(inner: S, switch: KillSwitch) -> Self {
        Self {
            inner,
            switch,
            inspector: Inspector::default(),
            incoming: BytesMut::with_capacity(READ_CHUNK),
            checked: 0,
            outgoing: FrameEnds::default(),
            last_write: Instant::now(),
            keep_alive: &[],
            timer: None,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> GuardedStream<S> {
    /// Reads until a whole frame is checked; `false` at the end of the stream.
    fn poll_frames(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        while self.checked == 0 {
            // One call of the system for many frames; the library below reads 8 KiB at a time.
            self.incoming.reserve(READ_CHUNK);
            let read = ready!(pin!(self.inner.read_buf(&mut self.incoming)).poll(cx))?;
            if read == 0 {
                return Poll::Ready(Ok(false));
            }
            self.switch.note_read();
            let inspected = self.inspector.inspect(&self.incoming);
            self.checked =
                inspected.map_err(|violation| io::Error::new(io::ErrorKind::InvalidData, violation))?;
        }
        Poll::Ready(Ok(true))
    }

    /// Sends an empty frame when we have been silent for half the time after which the peer would give us up
    /// (contract §2); fe2o3-amqp sends them only when the whole time is over.
    fn keep_alive(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let Some(interval) = self.inspector.idle_timeout().map(|timeout| timeout / 2) else {
            return Ok(());
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + interval)));
        while timer.as_mut().poll(cx).is_ready() {
            let (now, due) = (Instant::now(), self.last_write + interval);
            if due <= now && self.keep_alive.is_empty() && self.outgoing.at_end() {
                self.keep_alive = &EMPTY_FRAME;
            }
            timer.as_mut().reset(if due > now { due } else { now + interval });
        }
        if !self.keep_alive.is_empty() && self.poll_keep_alive(cx)?.is_ready() {
            let _ = Pin::new(&mut self.inner).poll_flush(cx)?;
        }
        Ok(())
    }

    /// Writes what is left of an empty frame: it must not be torn by other frames.
    fn poll_keep_alive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.keep_alive.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, self.keep_alive))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.keep_alive = &self.keep_alive[written..];
            self.last_write = Instant::now();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for GuardedStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Before the check: a switch pulled in between must find the waker.
        this.switch.0.reader.register(cx.waker());
        if this.switch.is_pulled() {
            return Poll::Ready(Ok(()));
        }
        this.keep_alive(cx)?;
        if ready!(this.poll_frames(cx))? {
            let length = this.checked.min(buf.remaining());
            buf.put_slice(&this.incoming[..length]);
            this.incoming.advance(length);
            this.checked -= length;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for GuardedStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.switch.is_pulled() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(this.poll_keep_alive(cx))?;
        let written = ready!(Pin::new(&mut this.inner).poll_write(cx, buf))?;
        this.outgoing.pass(&buf[..written]);
        this.last_write = Instant::now();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.switch.is_pulled() {
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_keep_alive(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.switch.is_pulled() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

impl<S> fmt::Debug for GuardedStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedStream")
            .field("switch", &self.switch)
            .finish_non_exhaustive()
    }
}

/// Follows the frames going out, to know where one ends.
#[derive(Debug, Default)]
struct FrameEnds {
    size: [u8; 4],
    /// How many bytes of `size` are known.
    have: usize,
    /// How many bytes of the frame are still to come, once the size is known.
    left: usize,
}

impl FrameEnds {
    fn at_end(&self) -> bool {
        self.have == 0
    }

    fn pass(&mut self, mut bytes: &[u8]) {
        while let Some(first) = bytes.first() {
            if self.have < 4 {
                self.size[self.have] = *first;
                self.have += 1;
                bytes = &bytes[1..];
                let size = if &self.size == b"AMQP" {
                    8
                } else {
                    u32::from_be_bytes(self.size)
                };
                self.left = usize::try_from(size).unwrap_or(usize::MAX).saturating_sub(4);
            } else {
                let length = self.left.min(bytes.len());
                bytes = &bytes[length..];
                self.left -= length;
            }
            if self.have == 4 && self.left == 0 {
                self.have = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::timeout;

    use super::*;

    const OPEN_240_S: &[u8] = &[
        0, 0, 0, 25, 2, 0, 0, 0, 0x00, 0x53, 0x10, 0xc0, 12, 5, 0xa1, 1, b'x', 0x40, 0x40, 0x40, 0x70, 0, 3,
        0xa9, 0x80,
    ];

    fn pair() -> (GuardedStream<DuplexStream>, DuplexStream, KillSwitch) {
        let (ours, peer) = duplex(1 << 20);
        let switch = KillSwitch::default();
        (GuardedStream::new(ours, switch.clone()), peer, switch)
    }

    #[tokio::test]
    async fn checked_frames_pass_unchanged_in_small_reads() {
        let (mut stream, mut peer, switch) = pair();
        let bytes = [b"AMQP\0\x01\0\0", OPEN_240_S, &EMPTY_FRAME].concat();
        for piece in bytes.chunks(3) {
            peer.write_all(piece).await.unwrap();
        }
        assert_eq!(switch.last_read(), None);
        let mut got = vec![0; bytes.len()];
        for piece in got.chunks_mut(5) {
            stream.read_exact(piece).await.unwrap();
        }
        assert_eq!(got, bytes);
        assert!(switch.last_read().is_some());
    }

    #[tokio::test]
    async fn a_bad_frame_is_an_error_and_never_passes() {
        let (mut stream, mut peer, _) = pair();
        peer.write_all(&[0, 0, 0, 4]).await.unwrap();
        let error = stream.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(error.to_string(), "the peer sent a frame of 4 bytes");
    }

    #[tokio::test]
    async fn the_kill_switch_ends_a_read_that_waits_and_fails_writes() {
        let (mut stream, _peer, switch) = pair();
        let reading = tokio::spawn(async move {
            let read = stream.read(&mut [0; 8]).await;
            (read, stream)
        });
        tokio::task::yield_now().await;
        switch.pull();
        let (read, mut stream) = timeout(Duration::from_secs(5), reading).await.unwrap().unwrap();
        assert_eq!(read.unwrap(), 0);
        assert_eq!(
            stream.write_all(b"x").await.unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
        stream.shutdown().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn empty_frames_are_sent_at_half_the_idle_time_out_of_the_peer() {
        let (mut stream, mut peer, _) = pair();
        peer.write_all(OPEN_240_S).await.unwrap();
        let start = Instant::now();
        tokio::spawn(async move {
            let mut sink = vec![0; 1024];
            while stream.read(&mut sink).await.is_ok_and(|read| read > 0) {}
        });
        let mut frame = [0; 8];
        for n in 1..=3 {
            peer.read_exact(&mut frame).await.unwrap();
            assert_eq!(frame, EMPTY_FRAME);
            assert_eq!(start.elapsed().as_secs(), 120 * n);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_empty_frame_is_sent_inside_another_or_after_recent_traffic() {
        let (mut stream, mut peer, _) = pair();
        peer.write_all(OPEN_240_S).await.unwrap();
        stream.read_exact(&mut [0; 25]).await.unwrap();
        let (head, tail) = OPEN_240_S.split_at(10);
        tokio::time::sleep(Duration::from_secs(60)).await;
        stream.write_all(head).await.unwrap();
        assert!(
            timeout(Duration::from_secs(1_000), stream.read_u8())
                .await
                .is_err()
        );
        stream.write_all(tail).await.unwrap();
        assert!(timeout(Duration::from_secs(119), stream.read_u8()).await.is_err());
        let mut sent = vec![0; 25];
        peer.read_exact(&mut sent).await.unwrap();
        assert_eq!(sent, OPEN_240_S);
        assert!(timeout(Duration::from_millis(1), peer.read_u8()).await.is_err());
    }

    #[test]
    fn ends_of_outgoing_frames_are_known() {
        let bytes = [b"AMQP\0\x01\0\0", OPEN_240_S, &EMPTY_FRAME].concat();
        let mut ends = FrameEnds::default();
        for (i, byte) in bytes.iter().enumerate() {
            assert_eq!(ends.at_end(), [0, 8, 33].contains(&i), "before byte {i}");
            ends.pass(&[*byte]);
        }
        ends.pass(&bytes);
        assert!(ends.at_end());
    }
}
