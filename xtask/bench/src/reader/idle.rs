use std::error::Error;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Orders, Reader, bare, consumer, partition};
use crate::machine::resident_kib;

/// The last flows go out meanwhile.
const SETTLING: Duration = Duration::from_millis(200);

/// What of a process is in memory, in KiB.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Idle {
    /// Before the first connection.
    pub before_kib: u64,
    /// When all receivers are attached and have credit.
    pub attached_kib: u64,
}

pub(super) async fn measure(orders: &Orders) -> Result<Idle, Box<dyn Error + Send + Sync>> {
    let before_kib = resident_kib("self")?;
    let attached_kib = match orders.reader {
        Reader::PartitionReceiver => settled(partition::open(orders).await?).await,
        Reader::Receive => settled(consumer::open(orders).await?).await,
        Reader::Fe2o3 => settled(bare::open(orders).await?).await,
        _ => return Err("is not measured idle".into()),
    }?;
    Ok(Idle { before_kib, attached_kib })
}

/// What is in memory while these live.
async fn settled<T>(receivers: T) -> io::Result<u64> {
    tokio::time::sleep(SETTLING).await;
    let resident = resident_kib("self");
    drop(receivers);
    resident
}
