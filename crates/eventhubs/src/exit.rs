//! What a pump is told, and why it stops: orders, exits and ends.

use crate::{CloseReason, Error};

/// What the processor tells a pump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Run,
    Shutdown,
    OwnershipLost,
    /// Another instance has the partition and waits until it is closed here.
    HandOver,
}

/// How a pump ended by itself, or on order.
#[derive(Debug)]
pub(crate) enum Ended {
    /// As ordered.
    Stopped,
    /// Another reader took the partition at the broker.
    Stolen,
    /// It was read to the bound of the run.
    Bounded,
    /// Nothing can be read, because of a mistake in the configuration or because the client is closed.
    Refused(Error),
}

/// Why one attempt to read the partition ended.
#[derive(Debug)]
pub(crate) enum Exit {
    Ordered(Order),
    Stolen,
    /// Everything up to the bound of the run is done.
    Bounded,
    /// The user wants to read on elsewhere.
    Sought,
    HandlerFailed(Error),
    /// An event was given up, and the user wants the run to end then.
    HandlerGaveUp(Error),
    ReceiveFailed(Error),
    /// Events came whose numbers are not above those before them.
    Recreated,
    /// The first event is not the one after the sequence number of the checkpoint, whose offset was used.
    OffsetAhead,
}

impl Exit {
    pub(crate) fn close_reason(&self) -> CloseReason {
        match self {
            Self::Ordered(Order::OwnershipLost) | Self::Stolen => CloseReason::OwnershipLost,
            Self::Ordered(Order::HandOver) => CloseReason::HandedOver,
            Self::Ordered(_) => CloseReason::Shutdown,
            Self::Bounded => CloseReason::Bounded,
            Self::Sought => CloseReason::Sought,
            Self::HandlerFailed(_) | Self::HandlerGaveUp(_) => CloseReason::HandlerFailed,
            Self::ReceiveFailed(_) | Self::Recreated | Self::OffsetAhead => CloseReason::ReceiveFailed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An exit after which the partition is somebody else's must not be taken for another one: the hook would write over
    /// the checkpoint of the next owner.
    #[test]
    fn the_close_reason_says_whether_the_partition_is_still_owned() {
        let error = || Error::invalid("a test");
        for (exit, reason) in [
            (Exit::Ordered(Order::Shutdown), CloseReason::Shutdown),
            (Exit::Ordered(Order::HandOver), CloseReason::HandedOver),
            (Exit::Ordered(Order::OwnershipLost), CloseReason::OwnershipLost),
            (Exit::Stolen, CloseReason::OwnershipLost),
            (Exit::Bounded, CloseReason::Bounded),
            (Exit::Sought, CloseReason::Sought),
            (Exit::HandlerFailed(error()), CloseReason::HandlerFailed),
            (Exit::HandlerGaveUp(error()), CloseReason::HandlerFailed),
            (Exit::ReceiveFailed(error()), CloseReason::ReceiveFailed),
            (Exit::Recreated, CloseReason::ReceiveFailed),
            (Exit::OffsetAhead, CloseReason::ReceiveFailed),
        ] {
            assert_eq!(exit.close_reason(), reason, "{exit:?}");
        }
    }
}
