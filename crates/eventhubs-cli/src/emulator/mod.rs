//! `eventhubs emulator`: a local Event Hubs until it is told to stop.

mod announcement;
mod config;
mod control;
mod events;
mod guard;
mod hubs;
mod inspect;
mod options;
mod page;
mod running;
mod schedules;
mod signals;
mod site;
mod web;

use std::io::{self, Write};
use std::sync::{Arc, Weak};

pub(crate) use options::Options;

use crate::Result;
use announcement::Announcement;
use running::Running;

/// Serves until SIGINT or SIGTERM, then closes all connections and ends.
pub(crate) async fn run(options: Options) -> Result<()> {
    // before the announcement: whoever reads it may stop us at once
    let stopped = signals::stopped()?;
    let running = Arc::new(Running::start(&options).await?);
    if let Some(file) = &options.certificate {
        running.write_certificates(file)?;
    }
    let (web, address) = web::listen(options.bind, options.health_port).await?;
    // After both ports are open: a script connects as soon as it has read this.
    announce(&Announcement::new(&running, address), options.json)?;
    if options.is_open_to_all()? {
        let told = "warning: whoever reaches this port can read and write everything, since the key is the well-known one; give \
                    another with --shared-access-key";
        writeln!(io::stderr(), "{told}")?;
    }
    let shared = Arc::downgrade(&running);
    tokio::select! {
        served = web::serve(web, Weak::clone(&shared), options.hosts()) => served?,
        () = schedules::chaos(&shared, options.chaos) => {}
        () = stopped => {}
    }
    // a request that is answered right now keeps it; then the clients get no farewell
    if let Some(running) = Arc::into_inner(running) {
        running.stop().await;
    }
    Ok(())
}

fn announce(announcement: &Announcement, json: bool) -> Result<()> {
    let mut stdout = io::stdout().lock();
    if json {
        writeln!(stdout, "{}", serde_json::to_string(announcement)?)?;
    } else {
        write!(stdout, "{announcement}")?;
    }
    stdout.flush()?;
    Ok(())
}
