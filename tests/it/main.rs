//! The whole product, and foreign SDKs, against the emulator.

mod python_sdk;
