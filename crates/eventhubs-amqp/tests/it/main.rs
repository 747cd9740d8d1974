//! The consumer against the embedded emulator, over real sockets.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bodies;
mod cancel;
mod credentials;
mod faults;
mod forward;
mod management;
mod owner_level;
mod positions;
mod prefetch;
mod produce;
mod proxy;
mod refusals;
mod secrets;
mod shutdown;
mod stream;
mod support;
mod tls;
mod transports;
