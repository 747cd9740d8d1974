//! The descriptors of the performatives (AMQP 1.0 part 2, §2.7).

/// Opens a connection.
pub const OPEN: u8 = 0x10;
/// Begins a session.
pub const BEGIN: u8 = 0x11;
/// Attaches a link.
pub const ATTACH: u8 = 0x12;
/// Updates the window of a session and, with a handle, the credit of a link.
pub const FLOW: u8 = 0x13;
/// Transfers a delivery, or a part of one.
pub const TRANSFER: u8 = 0x14;
/// Tells of what became of deliveries.
pub const DISPOSITION: u8 = 0x15;
/// Detaches a link.
pub const DETACH: u8 = 0x16;
/// Ends a session.
pub const END: u8 = 0x17;
/// Closes a connection.
pub const CLOSE: u8 = 0x18;
/// The outcome "accepted" of a delivery, which is the state in a disposition (part 3, §3.4).
pub const ACCEPTED: u8 = 0x24;
