//! Microsoft Entra ID instead of keys, for the event hub and for its checkpoints, after `az login` or with whatever else
//! `azure_identity` finds. Needs the roles *Azure Event Hubs Data Receiver* and *Storage Blob Data Contributor*.
//!
//! `cargo run -p eventhubs-azure-core --example entra_id -- contoso.servicebus.windows.net orders https://contoso.blob.core.windows.net checkpoints`
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use std::env;
use std::sync::Arc;

use eventhubs::ConsumerClient;
use eventhubs_azure_core::AzureCore1;
use eventhubs_checkpoint_store_blob::BlobCheckpointStore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [namespace, event_hub, account, container] = &arguments[..] else {
        println!("usage: entra_id NAMESPACE EVENT_HUB STORAGE_URL CONTAINER");
        return Ok(());
    };
    // One credential for both; on a server, that of a managed identity.
    let credential = Arc::new(AzureCore1::new(azure_identity_1::DeveloperToolsCredential::new(None)?));
    let store = BlobCheckpointStore::with_credential(account, container, Arc::clone(&credential)).build()?;
    store.create_container_if_absent().await?;
    let client = ConsumerClient::builder_with_credential(namespace, event_hub, "$Default", credential)
        .checkpoint_store(store)
        .build()?;
    let receive = client.receive(|context, event| async move {
        println!("partition {}: event {}", context.partition_id(), event.sequence_number());
        context.update_checkpoint(&event).await?;
        Ok(())
    });
    let ctrl_c = async { drop(tokio::signal::ctrl_c().await) };
    receive.with_graceful_shutdown(ctrl_c).await?;
    Ok(())
}
