//! The blob store against Azurite, through a proxy where Azurite cannot be made to fail, and together with
//! the Python SDK. `tests/official` is the same by the official SDK.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;
mod conformance;
mod containment;
mod errors;
mod faults;
mod features;
mod interop;
mod naming;
mod network;
mod older;
mod proxy;
mod secrets;
mod signatures;
mod tokens;
mod tools;
mod versions;
mod wire;

use eventhubs_checkpoint_store_blob::Sdk;

use self::common::{
    at, builder, claim, open, partition, scope, store, store_at, version_of, with_credential, with_sas_url,
    won,
};

/// What makes the requests of all stores here.
const SDK: Sdk = Sdk::Legacy;

/// The target of its log lines.
const SDK_LOG: &str = "azure_core";
