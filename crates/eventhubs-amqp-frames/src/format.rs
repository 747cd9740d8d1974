//! The format codes of AMQP 1.0 (part 1, §1.6) that its frames are made of, by their names there.

/// Begins a described value: a descriptor and a value follow.
pub const DESCRIBED: u8 = 0x00;
/// null
pub const NULL: u8 = 0x40;
/// The boolean true, without a byte of content.
pub const TRUE: u8 = 0x41;
/// The boolean false, without a byte of content.
pub const FALSE: u8 = 0x42;
/// The uint 0.
pub const UINT0: u8 = 0x43;
/// The ulong 0.
pub const ULONG0: u8 = 0x44;
/// The empty list.
pub const LIST0: u8 = 0x45;
/// A uint of one byte.
pub const SMALL_UINT: u8 = 0x52;
/// A ulong of one byte.
pub const SMALL_ULONG: u8 = 0x53;
/// A boolean of one byte.
pub const BOOLEAN: u8 = 0x56;
/// A ushort of two bytes.
pub const USHORT: u8 = 0x60;
/// A uint of four bytes.
pub const UINT: u8 = 0x70;
/// A ulong of eight bytes.
pub const ULONG: u8 = 0x80;
/// A long of eight bytes.
pub const LONG: u8 = 0x81;
/// A timestamp: milliseconds since 1970, in eight bytes.
pub const TIMESTAMP: u8 = 0x83;
/// Binary of less than 256 bytes.
pub const BINARY8: u8 = 0xa0;
/// A string of less than 256 bytes.
pub const STRING8: u8 = 0xa1;
/// A symbol of less than 256 bytes.
pub const SYMBOL8: u8 = 0xa3;
/// Binary whose length takes four bytes.
pub const BINARY32: u8 = 0xb0;
/// A string whose length takes four bytes.
pub const STRING32: u8 = 0xb1;
/// A symbol whose length takes four bytes.
pub const SYMBOL32: u8 = 0xb3;
/// A list whose size and count take one byte each.
pub const LIST8: u8 = 0xc0;
/// A map whose size and count take one byte each.
pub const MAP8: u8 = 0xc1;
/// A list whose size and count take four bytes each.
pub const LIST32: u8 = 0xd0;
/// A map whose size and count take four bytes each.
pub const MAP32: u8 = 0xd1;
/// An array whose size and count take one byte each.
pub const ARRAY8: u8 = 0xe0;
/// An array whose size and count take four bytes each.
pub const ARRAY32: u8 = 0xf0;
