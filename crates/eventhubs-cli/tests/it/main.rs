//! The program as its users and their scripts run it.

#![cfg(test)]

mod browser;
mod control;
mod emulator;
mod page;
mod program;
mod reach;
mod send;
