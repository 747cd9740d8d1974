//! The emulators that run, one per namespace.

use std::fs;
use std::path::Path;
use std::time::Duration;

use eventhubs_emulator::Emulator;

use super::config::Namespace;
use super::options::Options;
use crate::Result;

const HOUR: Duration = Duration::from_secs(3600);

/// The namespaces that are served, each by an emulator on a port of its own.
#[derive(Debug)]
pub(super) struct Running(Vec<(Namespace, Emulator)>);

impl Running {
    /// Starts one emulator per namespace.
    ///
    /// # Errors
    /// When the description cannot be used, or a port is taken; then nothing is left running.
    pub(super) async fn start(options: &Options) -> Result<Self> {
        let mut running = Vec::new();
        for (index, namespace) in options.namespaces()?.into_iter().enumerate() {
            let port = nth_port(options.port, index)?;
            let emulator = start(&namespace, port, options).await?;
            running.push((namespace, emulator));
        }
        Ok(Self(running))
    }

    pub(super) fn namespaces(&self) -> &[(Namespace, Emulator)] {
        &self.0
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.0.iter().map(|(namespace, _)| namespace.name.clone()).collect()
    }

    /// The emulator of a namespace, found by its name in any case.
    pub(super) fn emulator(&self, namespace: &str) -> Option<&Emulator> {
        let mut all = self.0.iter();
        let (_, emulator) = all.find(|(known, _)| known.name.eq_ignore_ascii_case(namespace))?;
        Some(emulator)
    }

    /// Writes the certificates of all namespaces, in PEM.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn write_certificates(&self, file: &Path) -> Result<()> {
        let certificates: String = self.0.iter().map(|(_, emulator)| emulator.certificate_pem()).collect();
        let written = fs::write(file, certificates);
        written.map_err(|error| format!("{}: {error}", file.display()).into())
    }

    /// Closes all connections.
    pub(super) async fn stop(self) {
        for (_, emulator) in self.0 {
            emulator.stop().await;
        }
    }
}

/// The port that follows `first` by so many; 0 always means a free one.
fn nth_port(first: u16, index: usize) -> Result<u16> {
    if first == 0 {
        return Ok(0);
    }
    let port = u16::try_from(index).ok().and_then(|index| first.checked_add(index));
    port.ok_or_else(|| format!("there is no port {index} above {first}").into())
}

async fn start(namespace: &Namespace, port: u16, options: &Options) -> Result<Emulator> {
    let mut builder = Emulator::builder()
        .bind(options.bind)
        .port(port)
        .retention(options.retention_events, options.retention_bytes)
        .retention_time(HOUR * options.retention_hours)
        .max_message_size(options.max_message_size)
        .max_connections(options.max_connections)
        .idle_timeout(Duration::from_secs(options.idle_timeout.into()));
    for host in options.allowed_hosts() {
        builder = builder.allow_host(host);
    }
    if let Some((name, key)) = options.shared_access_key()? {
        builder = builder.shared_access_key(name, key);
    }
    if options.accept_any_jwt {
        builder = builder.accept_any_jwt();
    }
    if let Some(folder) = &options.data {
        builder = builder.data_dir(folder.join(&namespace.name));
    }
    for hub in &namespace.event_hubs {
        builder = builder.event_hub(&hub.name, hub.partitions);
        for group in &hub.consumer_groups {
            builder = builder.consumer_group(&hub.name, group);
        }
    }
    Ok(builder.start().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_take_one_port_after_the_other() {
        assert_eq!([0, 1, 2].map(|n| nth_port(5672, n).unwrap()), [5672, 5673, 5674]);
        assert_eq!([0, 1, 2].map(|n| nth_port(0, n).unwrap()), [0, 0, 0]);
        assert!(nth_port(65535, 1).is_err());
    }
}
