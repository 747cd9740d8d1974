//! Any bytes are split into frames and read without a panic; in pieces as in one; and what is sound is
//! accepted by the walk.
#![no_main]

use eventhubs_amqp_frames::{
    Performative, Refused, Transfer, Walk, frame_length, string, symbol, uint, value_length,
};

/// The largest frame.
const MAX: u32 = 64 * 1024;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok(Some(length)) = frame_length(rest, MAX)
        && length <= rest.len()
    {
        let (frame, after) = rest.split_at(length);
        if Transfer::is(frame) {
            let _ = Transfer::read(frame);
        }
        if let Ok(Some(performative)) = Performative::of_frame(frame) {
            for field in (0..16).map_while(|index| performative.field(index)) {
                let _ = (uint(field), string(field), symbol(field));
            }
        }
        rest = after;
    }
    let (mut whole, mut pieces) = (Walk::default(), Walk::default());
    let (head, tail) = bytes.split_at(bytes.len() / 2);
    let in_pieces = pieces.values(head).and_then(|()| pieces.values(tail));
    assert_eq!(whole.values(bytes), in_pieces);
    if let Ok(length) = value_length::<true>(bytes) {
        let walked = Walk::default().value(bytes);
        assert!(walked == Ok(length) || walked == Err(Refused::Hidden), "{walked:?}");
        assert_eq!(value_length::<false>(bytes), Ok(length));
    }
});
