//! The emulator as its clients see it, over real sockets, with the AMQP library as the client.

#![cfg(test)]

mod cbs;
mod client;
mod faults;
mod hostile;
mod hubs;
mod lifecycle;
mod management;
mod owner_level;
mod persistence;
mod raw;
mod receive;
mod send;
mod transport;
mod wire;
