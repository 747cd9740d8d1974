//! As much AMQP as a replayer and a reader at the limit need. It shares no code with the readers that are measured.

pub mod decode;
pub mod encode;

/// The header of an AMQP connection.
pub const AMQP: [u8; 8] = *b"AMQP\x00\x01\x00\x00";
/// The header of the SASL exchange before it.
pub const SASL: [u8; 8] = *b"AMQP\x03\x01\x00\x00";

/// Kind of a frame, the sixth byte of its header.
pub const AMQP_FRAME: u8 = 0;
/// See [`AMQP_FRAME`].
pub const SASL_FRAME: u8 = 1;

/// Descriptors of performatives, SASL frames and message sections.
pub mod code {
    #![expect(missing_docs, reason = "the names of the standard, part 2, 3 and 5")]
    pub const OPEN: u8 = 0x10;
    pub const BEGIN: u8 = 0x11;
    pub const ATTACH: u8 = 0x12;
    pub const FLOW: u8 = 0x13;
    pub const TRANSFER: u8 = 0x14;
    pub const DISPOSITION: u8 = 0x15;
    pub const DETACH: u8 = 0x16;
    pub const END: u8 = 0x17;
    pub const CLOSE: u8 = 0x18;
    pub const ACCEPTED: u8 = 0x24;
    pub const SOURCE: u8 = 0x28;
    pub const TARGET: u8 = 0x29;
    pub const SASL_MECHANISMS: u8 = 0x40;
    pub const SASL_INIT: u8 = 0x41;
    pub const SASL_OUTCOME: u8 = 0x44;
    pub const ANNOTATIONS: u8 = 0x72;
    pub const PROPERTIES: u8 = 0x73;
    pub const APPLICATION_PROPERTIES: u8 = 0x74;
    pub const DATA: u8 = 0x75;
    pub const VALUE: u8 = 0x77;
}
