//! Buffers for what is read, used again as soon as nothing holds a piece of them: fresh memory costs more
//! than reading into it.
//!
//! Tests: below.

use std::mem;

use bytes::BytesMut;

/// How many spent chunks are kept; what somebody still holds beyond these is not used again.
const MAX_SPENT: usize = 8;

/// Returns the size of the chunks, in bytes, into which a stream reads frames of at most `max_frame_size`
/// bytes unless it is told otherwise: two of the largest, since each read of the socket costs.
pub const fn chunk_size(max_frame_size: u32) -> usize {
    2 * max_frame_size as usize
}

/// The chunks of one connection that are full.
#[derive(Debug)]
pub(crate) struct Chunks {
    /// The size of each, in bytes.
    size: usize,
    spent: Vec<BytesMut>,
}

impl Chunks {
    pub(crate) fn new(size: usize) -> Self {
        Self { size, spent: Vec::new() }
    }

    /// Moves what is unread to a chunk with room for this many bytes more.
    pub(crate) fn renew(&mut self, current: &mut BytesMut, room: usize) {
        let mut chunk = self.take(self.size.max(current.len() + room));
        chunk.extend_from_slice(current);
        let mut spent = mem::replace(current, chunk);
        spent.clear();
        if self.spent.len() < MAX_SPENT {
            self.spent.push(spent);
        }
    }

    /// One that nobody holds, rather that which was used last: it is still in the processor's cache.
    fn take(&mut self, size: usize) -> BytesMut {
        match self.spent.iter_mut().rposition(|chunk| chunk.try_reclaim(size)) {
            Some(index) => self.spent.remove(index),
            None => BytesMut::with_capacity(size),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const CHUNK: usize = chunk_size(64 * 1024);

    /// Fills a chunk and takes all of it as one event would.
    fn read(chunks: &mut Chunks, current: &mut BytesMut) -> Bytes {
        chunks.renew(current, 1);
        current.resize(CHUNK, 7);
        current.split().freeze()
    }

    #[test]
    fn a_chunk_is_used_again_once_nobody_holds_a_piece_of_it() {
        let (mut chunks, mut current) = (Chunks::new(CHUNK), BytesMut::new());
        let first = read(&mut chunks, &mut current);
        let address = first.as_ptr();
        let second = read(&mut chunks, &mut current);
        assert_ne!(second.as_ptr(), address, "somebody holds the first");
        drop(first);
        assert_eq!(read(&mut chunks, &mut current).as_ptr(), address);
        assert!(second.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn what_is_unread_moves_along_and_leaves_room_for_a_frame() {
        let (mut chunks, mut current) = (Chunks::new(CHUNK), BytesMut::from(&b"half a frame"[..]));
        chunks.renew(&mut current, 1);
        assert_eq!(current, "half a frame");
        assert!(current.capacity() >= CHUNK);
        chunks.renew(&mut current, 2 * CHUNK);
        assert!(current.capacity() >= current.len() + 2 * CHUNK, "a frame may be longer than a chunk");
    }

    #[test]
    fn no_more_chunks_are_kept_than_allowed() {
        let (mut chunks, mut current) = (Chunks::new(CHUNK), BytesMut::new());
        let held: Vec<_> = (0..3 * MAX_SPENT).map(|_| read(&mut chunks, &mut current)).collect();
        drop(held);
        assert_eq!(chunks.spent.len(), MAX_SPENT);
    }
}
