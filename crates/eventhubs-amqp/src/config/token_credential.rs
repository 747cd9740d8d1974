//! Tokens of Microsoft Entra ID: what the event hub's are for. The trait is in `eventhubs-types`, since stores take
//! the same credentials.
//!
//! Tests: `tests/it/credentials.rs`.

pub use eventhubs_types::{AccessToken, TokenCredential, TokenError};

/// What a token is for (docs/contract.md §1.4).
pub(crate) const SCOPE: &str = "https://eventhubs.azure.net/.default";
