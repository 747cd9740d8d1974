//! The numbers of the protocol. Each end of a connection numbers channels and handles as it likes, so those
//! of this end and those of the peer are types of their own: the compiler refuses to look one up among the
//! others.

/// A channel as this end numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct OurChannel(pub(crate) u16);

/// A channel as the peer numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PeerChannel(pub(crate) u16);

/// The handle of this end of a link, unique in its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct OurHandle(pub(crate) u32);

/// The handle of the peer's end of a link, unique in its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PeerHandle(pub(crate) u32);

/// The number of a delivery in its session: a serial number, which begins anywhere and wraps (RFC 1982).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeliveryId(pub(crate) u32);

impl DeliveryId {
    /// Returns the number of the delivery after this one.
    pub(crate) fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// The peer's end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeerLink {
    pub(crate) channel: PeerChannel,
    pub(crate) handle: PeerHandle,
}
