//! Where the fields of the performatives are in their lists (AMQP 1.0 part 2, §2.7), for
//! [`Performative::field`](crate::Performative::field). Only those that this workspace reads.

/// Of an open.
pub mod open {
    /// The largest frame that the sender of the open takes.
    pub const MAX_FRAME_SIZE: usize = 2;
    /// After how many milliseconds of silence it gives the connection up.
    pub const IDLE_TIME_OUT: usize = 4;
}

/// Of a begin.
pub mod begin {
    /// The channel of the other end; only in the answer to a begin.
    pub const REMOTE_CHANNEL: usize = 0;
    /// The number of the first transfer that its sender will send.
    pub const NEXT_OUTGOING_ID: usize = 1;
    /// How many transfers it takes.
    pub const INCOMING_WINDOW: usize = 2;
    /// How many transfers it may send.
    pub const OUTGOING_WINDOW: usize = 3;
}

/// Of an attach.
pub mod attach {
    /// The name, by which both ends know the link.
    pub const NAME: usize = 0;
    /// The handle that the sender of the attach chose.
    pub const HANDLE: usize = 1;
    /// Whether the sender of the attach receives.
    pub const ROLE: usize = 2;
    /// Where messages come from; null from a sender that refuses the link.
    pub const SOURCE: usize = 5;
    /// Where they go to; null from a receiver that refuses the link.
    pub const TARGET: usize = 6;
    /// Where a sending link begins to count its deliveries.
    pub const INITIAL_DELIVERY_COUNT: usize = 9;
    /// The largest message that it takes.
    pub const MAX_MESSAGE_SIZE: usize = 10;
}

/// Of a flow.
pub mod flow {
    /// The number of the transfer that the sender of the flow expects next.
    pub const NEXT_INCOMING_ID: usize = 0;
    /// The handle of its end of the link; null where the flow is about the session only.
    pub const HANDLE: usize = 4;
}

/// Of a transfer.
pub mod transfer {
    /// The handle of the sender's end of the link.
    pub const HANDLE: usize = 0;
    /// The number of the delivery; in its first frame at least.
    pub const DELIVERY_ID: usize = 1;
    /// What the message is.
    pub const MESSAGE_FORMAT: usize = 3;
    /// Whether the delivery needs no disposition.
    pub const SETTLED: usize = 4;
    /// Whether the delivery continues in another frame.
    pub const MORE: usize = 5;
    /// Whether the delivery is given up: nothing of it counts.
    pub const ABORTED: usize = 9;
}

/// Of a detach.
pub mod detach {
    /// The handle of the sender's end of the link.
    pub const HANDLE: usize = 0;
    /// Why the link ends.
    pub const ERROR: usize = 2;
}

/// Of an error.
pub mod error {
    /// The symbol for programs.
    pub const CONDITION: usize = 0;
    /// The text for people.
    pub const DESCRIPTION: usize = 1;
}
