//! Microsoft Entra ID instead of keys: `cargo run -p eventhubs-azure-core --example entra_id -- contoso.servicebus.windows.net orders`, after `az login` or with
//! whatever else `azure_identity` finds.
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use eventhubs::ConsumerClient;
use eventhubs_azure_core::AzureCore1;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(namespace), Some(event_hub)) = (arguments.next(), arguments.next()) else {
        println!("usage: entra_id NAMESPACE EVENT_HUB");
        return Ok(());
    };
    let credential = azure_identity_1::DeveloperToolsCredential::new(None)?;
    let client = ConsumerClient::builder_with_credential(
        namespace,
        event_hub,
        "$Default",
        AzureCore1::new(credential),
    )
    .build()?;
    println!("{:?}", client.event_hub_properties().await?);
    Ok(())
}
