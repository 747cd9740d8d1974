//! The stream that an AMQP library reads and writes, so that its dangers are contained below it.
//!
//! Tests: below.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::chunks::{Chunks, chunk_size};
use crate::frame::{EMPTY_FRAME, frame_length, split_frame, whole_frames};
use crate::kill_switch::KillSwitch;
use crate::tap::Tap;

/// A read has at least this much room, in bytes.
const LEAST_READ: usize = 8 * 1024;

/// How many reads may follow each other before other tasks get their turn.
const MAX_TURNS: usize = 4;

/// How many bytes may wait to be written before the library has to wait.
const MAX_OUTGOING: usize = 256 * 1024;

/// The library gives a connection up on which it sees nothing, so while its tap takes all frames it is shown
/// an empty one this often.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// What a [`GuardedStream`] allows its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The largest frame, in bytes.
    pub max_frame_size: u32,
    /// After how long a peer that takes nothing is given up; `None` for never.
    pub write_timeout: Option<Duration>,
    /// The size of the buffers that are read into, in bytes; a longer frame gets a buffer of its own size.
    pub chunk_size: usize,
}

impl Limits {
    /// Returns limits with this largest frame, in bytes, without a time-out of writes, and with chunks of
    /// [`chunk_size`](crate::chunk_size).
    pub fn new(max_frame_size: u32) -> Self {
        Self { max_frame_size, write_timeout: None, chunk_size: chunk_size(max_frame_size) }
    }

    /// Reads into buffers of this many bytes: smaller ones, where many connections allow large frames and few
    /// use them.
    #[must_use]
    pub fn chunk_size(mut self, bytes: usize) -> Self {
        self.chunk_size = bytes;
        self
    }

    /// Gives a peer up that takes nothing for this long. fe2o3-amqp neither reads nor looks at its clock
    /// while it writes, so nothing else would notice.
    #[must_use]
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = Some(timeout);
        self
    }
}

/// A stream that passes only whole and bounded frames to the AMQP library above it, as its [`Tap`] decides;
/// that keeps the connection alive with empty frames, and ends when its [`KillSwitch`] is pulled.
///
/// What happens below it, such as TLS or a pace, is for the stream `S`.
pub struct GuardedStream<S, T> {
    inner: S,
    tap: T,
    switch: KillSwitch,
    limits: Limits,
    /// What the peer has sent and is not sorted yet: less than one frame after each read.
    incoming: BytesMut,
    chunks: Chunks,
    /// Whole frames for the library.
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

impl<S, T: Tap> GuardedStream<S, T> {
    /// Wraps a connected stream.
    pub fn new(inner: S, tap: T, switch: KillSwitch, limits: Limits) -> Self {
        let now = Instant::now();
        Self {
            inner,
            tap,
            switch,
            limits,
            incoming: BytesMut::new(),
            chunks: Chunks::new(limits.chunk_size),
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

    /// Returns the tap.
    pub fn tap(&self) -> &T {
        &self.tap
    }

    /// Shows the tap the whole frames that have come.
    fn sort(&mut self, now: Instant) -> io::Result<()> {
        let whole = whole_frames(&self.incoming, self.limits.max_frame_size)?;
        let block = self.incoming.split_to(whole).freeze();
        let sorted = self.sort_block(&block);
        // Also after an error: the frames before the bad one were taken, and their readers must get them.
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

    fn sort_block(&mut self, block: &Bytes) -> io::Result<()> {
        let mut start = 0;
        while let Some(length) = frame_length(&block[start..], self.limits.max_frame_size)? {
            let end = start + length;
            self.tap.incoming(block, start..end, &mut self.passed)?;
            start = end;
        }
        Ok(())
    }

    /// Takes what the library writes; only whole frames reach the tap, so an empty frame of our own never
    /// lands inside one.
    fn accept(&mut self, bytes: &[u8]) {
        self.unfinished.extend_from_slice(bytes);
        while let Some(frame) = split_frame(&mut self.unfinished) {
            self.tap.outgoing(frame, &mut self.outgoing);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, T: Tap> GuardedStream<S, T> {
    /// Reads until there are frames for the library; `false` at the end of the stream.
    fn poll_frames(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        for _ in 0..MAX_TURNS {
            self.write_own(cx)?;
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
            self.sort(now)?;
        }
        // All of it was for the tap. A peer that sends faster than this loop reads must not keep the thread
        // for itself.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// A chunk is filled to its end, so that a trickle does not take a new one with every read.
    fn make_room(&mut self) {
        let needed = match frame_length(&self.incoming, self.limits.max_frame_size) {
            Ok(Some(length)) => length.saturating_sub(self.incoming.len()),
            _ => 0,
        };
        let room = needed.max(LEAST_READ);
        if self.incoming.capacity() - self.incoming.len() < room {
            self.chunks.renew(&mut self.incoming, room);
        }
    }

    /// Writes what the tap has unasked, and an empty frame after half the silence for which the peer would
    /// give us up; fe2o3-amqp sends one only after all of it, which is too late for a peer that counts
    /// strictly.
    ///
    /// The read path writes because the library polls only reads while it is idle: nothing else would send
    /// these frames.
    fn write_own(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            self.tap.unasked(&mut self.outgoing, &mut self.passed);
            if self.is_silent(cx) && self.outgoing.is_empty() {
                self.outgoing.extend_from_slice(&EMPTY_FRAME);
            }
            // A tap with more than fits must be asked again as soon as the peer has taken all, since nothing
            // else would wake this task.
            let had_frames = !self.outgoing.is_empty();
            if self.poll_out(cx)?.is_pending() || !had_frames {
                return Ok(());
            }
        }
    }

    fn is_silent(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(interval) = self.tap.idle_timeout().map(|timeout| timeout / 2) else {
            return false;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + interval)));
        let mut silent = false;
        // Poll after each reset until the timer is pending: `reset` alone does not register the waker, so
        // without another poll nobody would be woken at the new time.
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

    /// What came of a write, or an error when the peer has taken nothing for too long. Any progress stops the
    /// clock.
    fn unless_stalled<R>(
        &mut self,
        polled: Poll<io::Result<R>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<R>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let Some(limit) = self.limits.write_timeout else {
            return Poll::Pending;
        };
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, T: Tap + Unpin> AsyncRead for GuardedStream<S, T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.switch.is_pulled_or_wakes(cx) {
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

impl<S: AsyncRead + AsyncWrite + Unpin, T: Tap + Unpin> AsyncWrite for GuardedStream<S, T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.switch.is_pulled_or_wakes(cx) {
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
        if this.switch.is_pulled_or_wakes(cx) {
            return Poll::Ready(Ok(()));
        }
        this.poll_out(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.switch.is_pulled_or_wakes(cx) {
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_out(cx))?;
        let shut = Pin::new(&mut this.inner).poll_shutdown(cx);
        this.unless_stalled(shut, cx)
    }
}

impl<S, T> fmt::Debug for GuardedStream<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedStream").field("switch", &self.switch).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter, DuplexStream, duplex};
    use tokio::time::timeout;

    use super::*;
    use crate::performative::{Performative, uint};
    use crate::{descriptor, field};

    const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

    /// Passes all frames on, and learns from an open how long its peer bears silence.
    #[derive(Default)]
    struct Passing {
        idle_timeout: Option<Duration>,
    }

    impl Tap for Passing {
        fn incoming(&mut self, block: &Bytes, frame: Range<usize>, passed: &mut BytesMut) -> io::Result<()> {
            let frame = &block[frame];
            if let Some(open) =
                Performative::of_frame(frame)?.filter(|read| read.descriptor == descriptor::OPEN)
            {
                let millis = open.field(field::open::IDLE_TIME_OUT).and_then(uint);
                self.idle_timeout = millis.map(|millis| Duration::from_millis(millis.into()));
            }
            passed.extend_from_slice(frame);
            Ok(())
        }

        fn outgoing(&mut self, frame: BytesMut, outgoing: &mut BytesMut) {
            outgoing.extend_from_slice(&frame);
        }

        fn idle_timeout(&self) -> Option<Duration> {
            self.idle_timeout
        }
    }

    fn guarded<S>(inner: S, switch: &KillSwitch) -> GuardedStream<S, Passing> {
        let limits = Limits::new(64 * 1024).write_timeout(WRITE_TIMEOUT);
        GuardedStream::new(inner, Passing::default(), switch.clone(), limits)
    }

    const OPEN_240_S: &[u8] = &[
        0, 0, 0, 25, 2, 0, 0, 0, 0x00, 0x53, 0x10, 0xc0, 12, 5, 0xa1, 1, b'x', 0x40, 0x40, 0x40, 0x70, 0, 3,
        0xa9, 0x80,
    ];

    fn pair() -> (GuardedStream<DuplexStream, Passing>, DuplexStream, KillSwitch) {
        let (ours, peer) = duplex(1 << 20);
        let switch = KillSwitch::default();
        (guarded(ours, &switch), peer, switch)
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
    async fn a_frame_that_is_longer_than_a_chunk_passes_whole() {
        let (ours, mut peer) = duplex(1 << 20);
        let limits = Limits::new(64 * 1024).chunk_size(16 * 1024);
        let mut stream = GuardedStream::new(ours, Passing::default(), KillSwitch::default(), limits);
        let mut begin = vec![0x40; 60_000]; // of 59 980 nulls
        begin[..8].copy_from_slice(&[0, 0, 0xea, 0x60, 2, 0, 0, 0]);
        begin[8..20].copy_from_slice(&[0x00, 0x53, 0x11, 0xd0, 0, 0, 0xea, 0x50, 0, 0, 0xea, 0x4c]);
        for piece in begin.chunks(7_000) {
            peer.write_all(piece).await.unwrap();
        }
        let mut got = vec![0; begin.len()];
        stream.read_exact(&mut got).await.unwrap();
        assert_eq!(got, begin);
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
        let mut stream = guarded(ours, &KillSwitch::default());
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
        let mut stream = guarded(ours, &switch);
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
        let mut stream = guarded(BufWriter::new(ours), &KillSwitch::default());
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
    async fn an_empty_frame_splits_no_other_and_does_not_follow_recent_traffic() {
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
