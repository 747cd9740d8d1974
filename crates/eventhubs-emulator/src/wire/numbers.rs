//! The numbers of the protocol, a type for each space that they count in: the compiler refuses to look one up among the others, or to
//! compare it with them. Amounts, as credit and windows are, stay plain. Tests: here.

use std::fmt;
use std::marker::PhantomData;

/// A channel as the emulator numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OurChannel(pub(crate) u16);

/// A channel as the client numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClientChannel(pub(crate) u16);

/// The handle of the emulator's end of a link, unique in its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OurHandle(pub(crate) u32);

/// The handle of the client's end of a link, unique in its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClientHandle(pub(crate) u32);

/// The emulator's end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OurLink {
    pub(crate) channel: OurChannel,
    pub(crate) handle: OurHandle,
}

/// The client's end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClientLink {
    pub(crate) channel: ClientChannel,
    pub(crate) handle: ClientHandle,
}

/// The number of a delivery that the emulator sends, in its session.
pub(crate) type OurDelivery = Serial<space::OurDeliveries>;

/// The number of a delivery that the client sends, in its session.
pub(crate) type ClientDelivery = Serial<space::ClientDeliveries>;

/// The number of a transfer frame that the emulator sends, in its session.
pub(crate) type OurTransfer = Serial<space::OurTransfers>;

/// The number of a transfer frame that the client sends, in its session.
pub(crate) type ClientTransfer = Serial<space::ClientTransfers>;

/// The delivery count of a link on which the emulator sends.
pub(crate) type SentCount = Serial<space::Sent>;

/// The delivery count of a link on which the client sends.
pub(crate) type ReceivedCount = Serial<space::Received>;

/// What serial numbers count. No value has these types.
pub(crate) mod space {
    pub(crate) enum OurDeliveries {}
    pub(crate) enum ClientDeliveries {}
    pub(crate) enum OurTransfers {}
    pub(crate) enum ClientTransfers {}
    pub(crate) enum Sent {}
    pub(crate) enum Received {}
}

/// A number that may begin anywhere, and wraps (RFC 1982).
pub(crate) struct Serial<Space>(u32, PhantomData<fn() -> Space>);

impl<Space> Serial<Space> {
    pub(crate) const fn new(number: u32) -> Self {
        Self(number, PhantomData)
    }

    pub(crate) const fn get(self) -> u32 {
        self.0
    }

    #[must_use]
    pub(crate) const fn next(self) -> Self {
        self.after(1)
    }

    /// Returns the number that comes this many later.
    #[must_use]
    pub(crate) const fn after(self, amount: u32) -> Self {
        Self::new(self.0.wrapping_add(amount))
    }

    /// Returns how many numbers there are from an earlier one up to this.
    pub(crate) const fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// As [`since`](Self::since), where the other one may be ahead: 0 then.
    pub(crate) const fn since_if_ahead(self, other: Self) -> u32 {
        let distance = self.since(other);
        if distance > u32::MAX / 2 { 0 } else { distance }
    }
}

// Derived, these would ask the same of `Space`.

impl<Space> Clone for Serial<Space> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Space> Copy for Serial<Space> {}

impl<Space> PartialEq for Serial<Space> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<Space> Eq for Serial<Space> {}

impl<Space> Default for Serial<Space> {
    fn default() -> Self {
        Self::new(0)
    }
}

impl<Space> fmt::Debug for Serial<Space> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_wraps() {
        let last = OurTransfer::new(u32::MAX);
        assert_eq!((last.next().get(), last.after(3).get()), (0, 2));
        assert_eq!(OurTransfer::new(1).since(last), 2);
    }

    /// Half of all numbers are behind: a window that has passed is none, and not a huge one.
    #[test]
    fn what_is_behind_is_not_ahead() {
        let ahead = |of: u32, other: u32| SentCount::new(of).since_if_ahead(SentCount::new(other));
        assert_eq!((ahead(7, 5), ahead(5, 5), ahead(5, 7)), (2, 0, 0));
        assert_eq!((ahead(1, u32::MAX), ahead(u32::MAX, 1)), (2, 0));
        assert_eq!((ahead(u32::MAX / 2, 0), ahead(u32::MAX / 2 + 1, 0)), (u32::MAX / 2, 0));
    }
}
