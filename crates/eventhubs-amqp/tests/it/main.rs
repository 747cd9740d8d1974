//! The consumer against the embedded emulator, over real sockets.

mod receive;
mod support;
