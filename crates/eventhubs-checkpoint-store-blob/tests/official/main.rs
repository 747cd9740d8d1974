//! The tests of `tests/it` again, by the official SDK; and both SDKs on the same blobs.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod both;
#[path = "../it/common.rs"]
mod common;
#[path = "../it/conformance.rs"]
mod conformance;
#[path = "../it/containment.rs"]
mod containment;
#[path = "../it/errors.rs"]
mod errors;
#[path = "../it/faults.rs"]
mod faults;
#[path = "../it/features.rs"]
mod features;
#[path = "../it/interop.rs"]
mod interop;
#[path = "../it/naming.rs"]
mod naming;
#[path = "../it/network.rs"]
mod network;
#[path = "../it/older.rs"]
mod older;
#[path = "../it/proxy.rs"]
mod proxy;
#[path = "../it/secrets.rs"]
mod secrets;
#[path = "../it/signatures.rs"]
mod signatures;
#[path = "../it/tokens.rs"]
mod tokens;
#[path = "../it/tools.rs"]
mod tools;
#[path = "../it/versions.rs"]
mod versions;
#[path = "../it/wire.rs"]
mod wire;

use eventhubs_checkpoint_store_blob::Sdk;

use self::common::{
    at, builder, claim, open, partition, scope, store, store_at, version_of, with_credential, with_sas_url,
    won,
};

/// What makes the requests of all stores here.
const SDK: Sdk = Sdk::Official;

/// The target of its log lines.
const SDK_LOG: &str = "typespec_client_core::http::policies::logging";
