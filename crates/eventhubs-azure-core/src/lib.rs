//! Takes the credentials of `azure_identity` for Event Hubs. Choose the feature for the `azure_core` that yours is made
//! for: `v0_21` or `v1`.
//!
//! ```
//! # use std::sync::Arc;
//! # use azure_core_1::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
//! # use eventhubs_emulator::Emulator;
//! # #[derive(Debug)]
//! # struct ManagedIdentityCredential;
//! # #[async_trait::async_trait]
//! # impl TokenCredential for ManagedIdentityCredential {
//! #     async fn get_token(
//! #         &self,
//! #         _: &[&str],
//! #         _: Option<TokenRequestOptions<'_>>,
//! #     ) -> azure_core_1::Result<AccessToken> {
//! #         Ok(AccessToken::new("e30.e30.c2ln", time::OffsetDateTime::UNIX_EPOCH + time::Duration::days(40_000)))
//! #     }
//! # }
//! use eventhubs_amqp::EventHubClient;
//! use eventhubs_azure_core::AzureCore1;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let emulator = Emulator::builder().event_hub("orders", 2).start().await?;
//! # let namespace = emulator.address().to_string();
//! let credential = Arc::new(ManagedIdentityCredential);
//! let client = EventHubClient::with_credential(namespace, "orders", AzureCore1::new(credential))
//! #   .use_development_emulator()
//!     .build()?;
//! # assert_eq!(client.event_hub_properties().await?.partition_ids.len(), 2);
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "v0_21")]
mod v0_21;
#[cfg(feature = "v1")]
mod v1;

#[cfg(feature = "v0_21")]
pub use v0_21::AzureCore021;
#[cfg(feature = "v1")]
pub use v1::AzureCore1;
