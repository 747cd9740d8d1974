//! The program as its users and their scripts run it.

#![cfg(test)]

mod emulator;
mod program;
mod send;
