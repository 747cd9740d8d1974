//! Buffers for what is read, used again as soon as no event holds a piece of them: fresh memory costs more than reading
//! into it.

use std::mem;

use bytes::BytesMut;

use crate::frame::MAX_FRAME_SIZE;

/// The size of a chunk, in bytes. The largest frame must fit, and each read of the socket costs.
pub(crate) const CHUNK: usize = 2 * MAX_FRAME_SIZE as usize;

/// How many spent chunks are kept; what an event still holds beyond these is not used again.
const MAX_SPENT: usize = 8;

/// The chunks of one connection that are full.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    spent: Vec<BytesMut>,
}

impl Chunks {
    /// Moves what is unread to a chunk that has room for the rest of any frame.
    pub(crate) fn renew(&mut self, current: &mut BytesMut) {
        let mut chunk = self.take();
        chunk.extend_from_slice(current);
        let mut spent = mem::replace(current, chunk);
        spent.clear();
        if self.spent.len() < MAX_SPENT {
            self.spent.push(spent);
        }
    }

    /// One that nobody holds, rather that which was used last: it is still in the processor's cache.
    fn take(&mut self) -> BytesMut {
        match self.spent.iter_mut().rposition(|chunk| chunk.try_reclaim(CHUNK)) {
            Some(index) => self.spent.remove(index),
            None => BytesMut::with_capacity(CHUNK),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// Fills a chunk and takes all of it as one event would.
    fn read(chunks: &mut Chunks, current: &mut BytesMut) -> Bytes {
        chunks.renew(current);
        current.resize(CHUNK, 7);
        current.split().freeze()
    }

    #[test]
    fn a_chunk_is_used_again_once_nobody_holds_a_piece_of_it() {
        let (mut chunks, mut current) = (Chunks::default(), BytesMut::new());
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
        let (mut chunks, mut current) = (Chunks::default(), BytesMut::from(&b"half a frame"[..]));
        chunks.renew(&mut current);
        assert_eq!(current, "half a frame");
        assert!(current.capacity() >= CHUNK);
    }

    #[test]
    fn no_more_chunks_are_kept_than_allowed() {
        let (mut chunks, mut current) = (Chunks::default(), BytesMut::new());
        let held: Vec<_> = (0..3 * MAX_SPENT).map(|_| read(&mut chunks, &mut current)).collect();
        drop(held);
        assert_eq!(chunks.spent.len(), MAX_SPENT);
    }
}
