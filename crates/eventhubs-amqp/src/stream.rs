//! The stream that fe2o3-amqp reads and writes: ours, so that its dangers are contained here (amqp-crate §4).

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::chunks::Chunks;
use crate::frame::{Inspector, Violation, frame_length, whole_frames};
use crate::tap::{Tap, Taps};

/// A read has at least this much room.
const LEAST_READ: usize = 8 * 1024;

/// How many reads may follow each other before other tasks get their turn.
const MAX_TURNS: usize = 4;

/// How much may wait to be written before the library has to wait.
const MAX_OUTGOING: usize = 256 * 1024;

/// The library gives a connection up on which it sees nothing, so while all is tapped it is shown an empty frame this
/// often.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// A peer that takes nothing for this long is given up: the library neither reads nor looks at its clock while it writes
/// (amqp-crate §4, 16).
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// A frame without a body, which tells the peer that we are alive.
const EMPTY_FRAME: [u8; 8] = [0, 0, 0, 8, 2, 0, 0, 0];

/// Ends a connection from outside: its reads come to an end at once and its writes fail.
///
/// fe2o3-amqp spins a core while it waits for a peer that does not answer its close, forever if the handles are gone,
/// and its task cannot be aborted; an end of file is what stops it.
#[derive(Clone, Default)]
pub(crate) struct KillSwitch(Arc<Shared>);

#[derive(Default)]
struct Shared {
    killed: AtomicBool,
    task: AtomicWaker,
    last_read: Mutex<Option<Instant>>,
}

impl KillSwitch {
    pub(crate) fn pull(&self) {
        self.0.killed.store(true, Ordering::Release);
        self.wake();
    }

    /// Wakes the task that reads and writes.
    pub(crate) fn wake(&self) {
        self.0.task.wake();
    }

    pub(crate) fn is_pulled(&self) -> bool {
        self.0.killed.load(Ordering::Acquire)
    }

    /// When the peer last sent anything.
    pub(crate) fn last_read(&self) -> Option<Instant> {
        *self.0.last_read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_read(&self, now: Instant) {
        *self.0.last_read.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }
}

impl fmt::Debug for KillSwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KillSwitch").field("pulled", &self.is_pulled()).finish()
    }
}

/// Passes only checked frames up, without the transfers that are tapped, keeps the connection alive, and obeys the
/// [`KillSwitch`].
pub(crate) struct GuardedStream<S> {
    inner: S,
    switch: KillSwitch,
    inspector: Inspector,
    tap: Tap,
    incoming: BytesMut,
    chunks: Chunks,
    /// Frames for the library.
    passed: BytesMut,
    last_passed: Instant,
    /// The part of a frame that the library has written so far.
    unfinished: BytesMut,
    /// Whole frames to be written.
    outgoing: BytesMut,
    last_write: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    /// What was written may wait in the buffers of a stream below.
    unflushed: bool,
    /// Runs while the peer takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> GuardedStream<S> {
    pub(crate) fn new(inner: S, switch: KillSwitch, taps: Taps) -> Self {
        let now = Instant::now();
        Self {
            inner,
            switch,
            inspector: Inspector::default(),
            tap: Tap::new(taps),
            incoming: BytesMut::new(),
            chunks: Chunks::default(),
            passed: BytesMut::new(),
            last_passed: now,
            unfinished: BytesMut::new(),
            outgoing: BytesMut::new(),
            last_write: now,
            timer: None,
            unflushed: false,
            stalled: None,
        }
    }

    /// Sorts the whole frames that have come: to the links that are tapped, or to the library.
    fn sort(&mut self, now: Instant) -> Result<(), Violation> {
        let block = self.incoming.split_to(whole_frames(&self.incoming)?).freeze();
        let sorted = self.sort_block(&block);
        self.tap.settle(&mut self.outgoing);
        sorted?;
        if !self.passed.is_empty() {
            self.last_passed = now;
        } else if now - self.last_passed >= SIGN_OF_LIFE {
            self.last_passed = now;
            self.passed.extend_from_slice(&EMPTY_FRAME);
        }
        Ok(())
    }

    fn sort_block(&mut self, block: &Bytes) -> Result<(), Violation> {
        let mut start = 0;
        while let Some(length) = frame_length(&block[start..])? {
            let end = start + length;
            if !self.tap.takes(block, start, end)? {
                let frame = &block[start..end];
                if let Some(performative) = self.inspector.inspect(frame)? {
                    self.tap.incoming(frame, &performative)?;
                }
                self.passed.extend_from_slice(frame);
            }
            start = end;
        }
        Ok(())
    }

    /// Takes what the library writes; only whole frames go on.
    fn accept(&mut self, bytes: &[u8]) {
        self.unfinished.extend_from_slice(bytes);
        while let Some(length) = written_length(&self.unfinished)
            && length <= self.unfinished.len()
        {
            let frame = self.unfinished.split_to(length);
            self.tap.outgoing(&frame, &mut self.outgoing);
        }
    }
}

/// The length of the outgoing frame, or protocol header, at the front.
fn written_length(bytes: &[u8]) -> Option<usize> {
    let size = bytes.first_chunk::<4>()?;
    if size == b"AMQP" {
        return Some(8);
    }
    let length = usize::try_from(u32::from_be_bytes(*size)).ok()?;
    Some(length.max(8))
}

impl<S: AsyncRead + AsyncWrite + Unpin> GuardedStream<S> {
    /// Reads until there are frames for the library; `false` at the end of the stream.
    fn poll_frames(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        for _ in 0..MAX_TURNS {
            self.write_own(cx)?;
            self.tap.repeat(&mut self.passed);
            if !self.passed.is_empty() {
                return Poll::Ready(Ok(true));
            }
            self.make_room();
            let read = ready!(pin!(self.inner.read_buf(&mut self.incoming)).poll(cx))?;
            if read == 0 {
                return Poll::Ready(Ok(false));
            }
            let now = Instant::now();
            self.switch.note_read(now);
            self.sort(now).map_err(|violation| io::Error::new(io::ErrorKind::InvalidData, violation))?;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// A chunk is filled to its end, so that a trickle does not take a new one with every read.
    fn make_room(&mut self) {
        let needed = match frame_length(&self.incoming) {
            Ok(Some(length)) => length.saturating_sub(self.incoming.len()),
            _ => 0,
        };
        let free = self.incoming.capacity() - self.incoming.len();
        if free < needed.max(LEAST_READ) {
            self.chunks.renew(&mut self.incoming);
        }
    }

    /// Writes the flows that are due, and an empty frame when we have been silent for half the time after which the
    /// peer would give us up (contract §2); fe2o3-amqp sends them only when the whole time is over.
    fn write_own(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.tap.write_due(&mut self.outgoing);
        if self.is_silent(cx) && self.outgoing.is_empty() {
            self.outgoing.extend_from_slice(&EMPTY_FRAME);
        }
        let _: Poll<()> = self.poll_out(cx)?;
        Ok(())
    }

    fn is_silent(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(interval) = self.inspector.idle_timeout().map(|timeout| timeout / 2) else {
            return false;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + interval)));
        let mut silent = false;
        while timer.as_mut().poll(cx).is_ready() {
            let (now, due) = (Instant::now(), self.last_write + interval);
            silent |= due <= now;
            timer.as_mut().reset(if due > now { due } else { now + interval });
        }
        silent
    }

    /// Writes all that waits, as far as to the peer.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_outgoing(cx))?;
        if self.unflushed {
            let flushed = Pin::new(&mut self.inner).poll_flush(cx);
            ready!(self.unless_stalled(flushed, cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_outgoing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let written = Pin::new(&mut self.inner).poll_write(cx, &self.outgoing);
            let written = ready!(self.unless_stalled(written, cx))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing.advance(written);
            self.last_write = Instant::now();
            self.unflushed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// What came of a write, or an error when the peer has taken nothing for too long.
    fn unless_stalled<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Whether the connection is to end. All that waits asks first: a switch pulled in between must find the waker, which
    /// each wake takes away.
    fn is_killed(&self, cx: &Context<'_>) -> bool {
        self.switch.0.task.register(cx.waker());
        self.switch.is_pulled()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for GuardedStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_killed(cx) {
            return Poll::Ready(Ok(()));
        }
        if ready!(this.poll_frames(cx))? {
            let length = this.passed.len().min(buf.remaining());
            buf.put_slice(&this.passed[..length]);
            this.passed.advance(length);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for GuardedStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_killed(cx) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if this.outgoing.len() >= MAX_OUTGOING {
            ready!(this.poll_outgoing(cx))?;
        }
        this.accept(buf);
        let _ = this.poll_outgoing(cx)?;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_killed(cx) {
            return Poll::Ready(Ok(()));
        }
        this.poll_out(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_killed(cx) {
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_out(cx))?;
        let shut = Pin::new(&mut this.inner).poll_shutdown(cx);
        this.unless_stalled(shut, cx)
    }
}

impl<S> fmt::Debug for GuardedStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedStream").field("switch", &self.switch).finish_non_exhaustive()
    }
}

/// A peer says this, in pieces whose lengths are part of it; whatever it is, only whole frames may pass.
#[cfg(fuzzing)]
pub(crate) fn fuzz(bytes: &[u8]) {
    use tokio::io::{AsyncWriteExt, duplex};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let (ours, mut peer) = duplex(bytes.len() + 1);
        let switch = KillSwitch::default();
        let mut stream = GuardedStream::new(ours, switch.clone(), Taps::new(switch));
        let (mut rest, mut passed) = (bytes, Vec::new());
        while let Some((length, more)) = rest.split_first() {
            let (piece, more) = more.split_at(usize::from(*length).min(more.len()));
            peer.write_all(piece).await.expect("room for all");
            rest = more;
        }
        drop(peer);
        let _ = stream.read_to_end(&mut passed).await;
        let whole = whole_frames(&passed).expect("only frames pass");
        assert_eq!(whole, passed.len(), "only whole frames pass");
    });
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter, DuplexStream, duplex};
    use tokio::time::timeout;

    use super::*;

    const OPEN_240_S: &[u8] = &[
        0, 0, 0, 25, 2, 0, 0, 0, 0x00, 0x53, 0x10, 0xc0, 12, 5, 0xa1, 1, b'x', 0x40, 0x40, 0x40, 0x70, 0, 3,
        0xa9, 0x80,
    ];

    fn pair() -> (GuardedStream<DuplexStream>, DuplexStream, KillSwitch) {
        let (ours, peer) = duplex(1 << 20);
        let switch = KillSwitch::default();
        let taps = Taps::new(switch.clone());
        (GuardedStream::new(ours, switch.clone(), taps), peer, switch)
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
        assert_eq!(stream.write_all(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        stream.shutdown().await.unwrap();
    }

    /// Half-open, or a stalled proxy: the library does nothing else while it writes.
    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (ours, _peer) = duplex(4);
        let switch = KillSwitch::default();
        let mut stream = GuardedStream::new(ours, switch.clone(), Taps::new(switch));
        let start = Instant::now();
        stream.write_all(OPEN_240_S).await.unwrap();
        assert_eq!(stream.flush().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), WRITE_TIMEOUT);
        assert_eq!(stream.shutdown().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), WRITE_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn the_kill_switch_ends_a_write_that_waits_whoever_woke_it_before() {
        let (ours, _peer) = duplex(4);
        let switch = KillSwitch::default();
        let mut stream = GuardedStream::new(ours, switch.clone(), Taps::new(switch.clone()));
        stream.write_all(OPEN_240_S).await.unwrap();
        let flushing = tokio::spawn(async move { stream.flush().await });
        for _ in 0..2 {
            tokio::task::yield_now().await;
            switch.wake();
        }
        tokio::task::yield_now().await;
        switch.pull();
        timeout(WRITE_TIMEOUT / 2, flushing).await.expect("the write has ended").unwrap().unwrap();
    }

    /// As TLS does, which takes what it cannot send yet.
    #[tokio::test(start_paused = true)]
    async fn what_a_stream_below_has_buffered_is_flushed_once_it_can() {
        let (ours, mut peer) = duplex(10);
        let switch = KillSwitch::default();
        let taps = Taps::new(switch.clone());
        let mut stream = GuardedStream::new(BufWriter::new(ours), switch, taps);
        stream.outgoing.extend_from_slice(OPEN_240_S);
        assert!(timeout(Duration::from_secs(1), stream.read_u8()).await.is_err());
        let reading = tokio::spawn(async move { stream.read_u8().await });
        timeout(Duration::from_secs(1), peer.read_exact(&mut [0; 25])).await.expect("all of it").unwrap();
        reading.abort();
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
    async fn an_empty_frame_is_sent_before_or_after_another_and_not_after_recent_traffic() {
        let (mut stream, mut peer, _) = pair();
        peer.write_all(OPEN_240_S).await.unwrap();
        stream.read_exact(&mut [0; 25]).await.unwrap();
        let (head, tail) = OPEN_240_S.split_at(10);
        sleep(Duration::from_secs(60)).await;
        stream.write_all(head).await.unwrap();
        assert!(timeout(Duration::from_secs(1_000), stream.read_u8()).await.is_err());
        stream.write_all(tail).await.unwrap();
        assert!(timeout(Duration::from_secs(119), stream.read_u8()).await.is_err());
        let mut sent = vec![0; 25];
        let mut empty = 0;
        loop {
            peer.read_exact(&mut sent[..8]).await.unwrap();
            if sent[..8] != EMPTY_FRAME {
                break;
            }
            empty += 1;
        }
        assert!(empty > 0, "the frame took long");
        peer.read_exact(&mut sent[8..]).await.unwrap();
        assert_eq!(sent, OPEN_240_S);
        assert!(timeout(Duration::from_millis(1), peer.read_u8()).await.is_err());
    }

    #[tokio::test]
    async fn what_the_library_writes_in_pieces_goes_out_whole_and_unchanged() {
        let (mut stream, mut peer, _) = pair();
        let bytes = [b"AMQP\0\x01\0\0", OPEN_240_S, &EMPTY_FRAME].concat();
        for byte in &bytes {
            stream.write_all(&[*byte]).await.unwrap();
        }
        stream.flush().await.unwrap();
        let mut sent = vec![0; bytes.len()];
        peer.read_exact(&mut sent).await.unwrap();
        assert_eq!(sent, bytes);
    }
}
