//! The emulator as its clients see it, over real sockets, with the AMQP library as the client.

#![cfg(test)]

mod cbs;
mod client;
mod credit;
mod fail_over;
mod faults;
mod frames;
mod hostile;
mod hubs;
mod idle;
mod inspect;
mod lifecycle;
mod management;
mod memory;
mod owner_level;
mod persistence;
mod raw;
mod receive;
mod refusals;
mod send;
mod transport;
mod wire;
