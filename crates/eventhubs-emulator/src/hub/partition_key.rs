//! Which partition a partition key belongs to: Jenkins' lookup3, as the producers of all SDKs and the service do it.

/// The index of the partition for `key` among `partitions`.
pub(crate) fn partition_of(key: &str, partitions: usize) -> usize {
    let (high, low) = lookup3(key.as_bytes());
    let bytes = (high ^ low).to_le_bytes();
    let hash = i16::from_le_bytes([bytes[0], bytes[1]]);
    // the sign is dropped after the remainder, as .NET, Java and JavaScript do it
    usize::from(hash.unsigned_abs()) % partitions
}

/// `hashlittle2` of lookup3.c with both seeds zero.
fn lookup3(key: &[u8]) -> (u32, u32) {
    let seed = 0xdead_beef_u32.wrapping_add(u32::try_from(key.len()).unwrap_or(u32::MAX));
    let mut state = [seed; 3];
    let mut rest = key;
    while rest.len() > 12 {
        let (block, tail) = rest.split_at(12);
        add(&mut state, block);
        mix(&mut state);
        rest = tail;
    }
    if !rest.is_empty() {
        add(&mut state, rest);
        finish(&mut state);
    }
    (state[2], state[1])
}

/// Adds up to 12 bytes to the three words, little-endian.
fn add(state: &mut [u32; 3], bytes: &[u8]) {
    for (word, four) in state.iter_mut().zip(bytes.chunks(4)) {
        let mut padded = [0; 4];
        padded[..four.len()].copy_from_slice(four);
        *word = word.wrapping_add(u32::from_le_bytes(padded));
    }
}

fn mix(state: &mut [u32; 3]) {
    for (x, y, z, rotation) in
        [(0, 2, 1, 4), (1, 0, 2, 6), (2, 1, 0, 8), (0, 2, 1, 16), (1, 0, 2, 19), (2, 1, 0, 4)]
    {
        state[x] = state[x].wrapping_sub(state[y]) ^ state[y].rotate_left(rotation);
        state[y] = state[y].wrapping_add(state[z]);
    }
}

fn finish(state: &mut [u32; 3]) {
    for (x, y, rotation) in
        [(2, 1, 14), (0, 2, 11), (1, 0, 25), (2, 1, 16), (0, 2, 4), (1, 0, 14), (2, 1, 24)]
    {
        state[x] = (state[x] ^ state[y]).wrapping_sub(state[y].rotate_left(rotation));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with the partition resolver of the Python SDK (azure-eventhub 5.15.1), which differs from the other SDKs
    /// in how it drops the sign only.
    #[test]
    fn keys_go_where_the_producers_of_the_sdks_send_them() {
        for (key, of_4, of_8, of_32) in [
            ("", 0, 0, 0),
            ("a", 0, 4, 28),
            ("7", 3, 7, 31),
            ("key", 3, 3, 27),
            ("1234567890ab", 0, 0, 16),
            ("1234567890abc", 1, 1, 17),
            ("contoso/device-0042", 1, 5, 29),
            ("ddddddddddddddddddddddddddddddddddddd", 2, 2, 2),
        ] {
            let found = [4, 8, 32].map(|partitions| partition_of(key, partitions));
            assert_eq!(found, [of_4, of_8, of_32], "{key:?}");
        }
    }
}
