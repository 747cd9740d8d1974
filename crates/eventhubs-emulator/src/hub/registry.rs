//! The event hubs of a namespace, which come and go.

use std::sync::{Arc, Mutex};

use eventhubs_types::{ConsumerGroup, EventHubName, InvalidName};

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::hub::log::Log;
use crate::hub::retention::Retention;
use crate::hub::storage::{SavedHub, Storage};
use crate::hub::{Hub, Partition};
use crate::sync::lock;

/// The hash of a partition key tells no more apart (see [`crate::hub::partition_key`]).
const MAX_PARTITIONS: usize = 32_768;

/// What an event hub is to be.
#[derive(Debug, Clone)]
pub(crate) struct HubSpec {
    pub(crate) name: String,
    pub(crate) partitions: usize,
    /// Beside `$Default`, which may be said again.
    pub(crate) consumer_groups: Vec<String>,
}

/// All event hubs of one namespace; the length of the list is bounded by who may add to it.
#[derive(Debug)]
pub(crate) struct Registry {
    all: Mutex<Vec<Arc<Hub>>>,
    storage: Box<dyn Storage>,
    retention: Retention,
    clock: Clock,
}

impl HubSpec {
    /// # Errors
    /// When names or the number of partitions cannot be used.
    fn check(&self) -> Result<()> {
        EventHubName::new(&self.name).map_err(|error| invalid_name(&error))?;
        if !(1..=MAX_PARTITIONS).contains(&self.partitions) {
            let name = &self.name;
            let text =
                format!("the partition count of event hub {name:?} is not between 1 and {MAX_PARTITIONS}");
            return Err(Error::invalid(text));
        }
        self.groups().map(drop)
    }

    /// All consumer groups.
    fn groups(&self) -> Result<Vec<String>> {
        let mut groups = vec![ConsumerGroup::DEFAULT.to_owned()];
        for group in &self.consumer_groups {
            ConsumerGroup::new(group).map_err(|error| invalid_name(&error))?;
            match groups.iter().position(|known| known.eq_ignore_ascii_case(group)) {
                None => groups.push(group.clone()),
                Some(0) => {}
                Some(_) => {
                    return Err(Error::invalid(format!("the consumer group {group:?} is given twice")));
                }
            }
        }
        Ok(groups)
    }
}

impl Registry {
    /// The hubs of an earlier run.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn open(storage: Box<dyn Storage>, retention: Retention, clock: Clock) -> Result<Self> {
        let hubs = Self { all: Mutex::default(), storage, retention, clock };
        for saved in hubs.storage.hubs()? {
            let hub = hubs.load(saved)?;
            lock(&hubs.all).push(Arc::new(hub));
        }
        Ok(hubs)
    }

    fn load(&self, saved: SavedHub) -> Result<Hub> {
        let partitions = self.load_partitions(&saved, 0)?;
        Ok(Hub::new(saved, partitions))
    }

    /// The partitions of a hub that is saved, from this one on.
    fn load_partitions(&self, saved: &SavedHub, first: u32) -> Result<Vec<Arc<Partition>>> {
        let retention = self.retention.share(saved.partitions as usize);
        let partition = |id: u32| {
            let (events, mut state) = self.storage.partition(&saved.name, id)?;
            state.head.offset.era = saved.era;
            Ok(Arc::new(Partition::new(id, Log::new(retention, events, state), self.clock.clone())))
        };
        (first..saved.partitions).map(partition).collect()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Hub>> {
        lock(&self.all).clone()
    }

    /// Finds a hub by its name in any case.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Hub>> {
        lock(&self.all).iter().find(|hub| hub.name.eq_ignore_ascii_case(name)).cloned()
    }

    /// Adds a hub.
    ///
    /// # Errors
    /// When it cannot be made, or is there.
    pub(crate) fn add(&self, spec: &HubSpec) -> Result<()> {
        spec.check()?;
        let saved = SavedHub {
            name: spec.name.clone(),
            partitions: u32::try_from(spec.partitions).expect("the number is checked"),
            created_ms: self.clock.now_ms(),
            consumer_groups: spec.groups()?,
            era: 0,
        };
        let mut all = lock(&self.all);
        if all.iter().any(|hub| hub.name.eq_ignore_ascii_case(&spec.name)) {
            return Err(Error::exists(format!("event hub {:?}", spec.name)));
        }
        // On disk first: after a crash in between there are partitions without events, but none that clients
        // saw is missing.
        self.storage.save_hub(&saved)?;
        all.push(Arc::new(self.load(saved)?));
        Ok(())
    }

    /// Adds a hub, unless the folder has it already.
    ///
    /// # Errors
    /// When it cannot be made, or the folder has one of this name with another number of partitions.
    pub(crate) fn add_or_resume(&self, spec: &HubSpec) -> Result<()> {
        match self.find(&spec.name) {
            Some(hub) if hub.partitions().len() != spec.partitions => {
                let text = format!(
                    "the data folder has event hub {:?} with {} partitions, not {}",
                    hub.name,
                    hub.partitions().len(),
                    spec.partitions
                );
                Err(Error::invalid(text))
            }
            Some(hub) => spec.groups().and_then(|groups| self.add_groups(&hub, groups)),
            None => self.add(spec),
        }
    }

    fn add_groups(&self, hub: &Hub, groups: Vec<String>) -> Result<()> {
        hub.add_consumer_groups(groups);
        Ok(self.storage.save_hub(&hub.saved())?)
    }

    /// Removes a hub with its events. Calls `end_links` once no event and no link can come to it any more.
    ///
    /// # Errors
    /// When it does not exist, or is still on disk.
    pub(crate) fn delete(&self, name: &str, end_links: impl FnOnce(&Hub)) -> Result<()> {
        let hub = {
            let mut all = lock(&self.all);
            let index = all.iter().position(|hub| hub.name.eq_ignore_ascii_case(name));
            all.remove(index.ok_or_else(|| Error::not_found(format!("event hub {name:?}")))?)
        };
        // First, so that no event is added after the removal, and no link is missed: each looks at this after it has
        // entered the list of peers.
        hub.delete();
        end_links(&hub);
        Ok(self.storage.delete_hub(&hub.name)?)
    }

    /// Removes a hub and adds it again, empty, with this many partitions and the same consumer groups.
    ///
    /// # Errors
    /// When it does not exist, or cannot be made so.
    pub(crate) fn recreate(&self, name: &str, partitions: usize, end_links: impl FnOnce(&Hub)) -> Result<()> {
        let hub = self.find(name).ok_or_else(|| Error::not_found(format!("event hub {name:?}")))?;
        let SavedHub { name, consumer_groups, .. } = hub.saved();
        let spec = HubSpec { name, partitions, consumer_groups };
        spec.check()?;
        // After the check: a wrong number of partitions must not cost the events.
        self.delete(&spec.name, end_links)?;
        self.add(&spec)
    }

    /// Adds partitions to a hub until it has this many; its links and events are left alone.
    ///
    /// # Errors
    /// When it does not exist, has more already, or cannot have so many.
    pub(crate) fn grow(&self, name: &str, partitions: usize) -> Result<()> {
        // Held to the end, as in `fail_over`.
        let all = lock(&self.all);
        let hub = all.iter().find(|hub| hub.name.eq_ignore_ascii_case(name));
        let hub = hub.ok_or_else(|| Error::not_found(format!("event hub {name:?}")))?;
        let before = hub.saved();
        let spec = HubSpec { name: before.name.clone(), partitions, consumer_groups: Vec::new() };
        spec.check()?;
        let saved =
            SavedHub { partitions: u32::try_from(partitions).expect("the number is checked"), ..before };
        if saved.partitions < before.partitions {
            let text =
                format!("event hub {name:?} has {} partitions, and can only get more", before.partitions);
            return Err(Error::invalid(text));
        }
        self.storage.save_hub(&saved)?;
        hub.add_partitions(self.load_partitions(&saved, before.partitions)?);
        Ok(())
    }

    /// Begins another era of a hub; its links are left alone.
    ///
    /// # Errors
    /// When it does not exist, or the era cannot be kept; then it has not begun.
    pub(crate) fn fail_over(&self, name: &str) -> Result<()> {
        // held to the end: a hub that is deleted meanwhile must not be saved again
        let all = lock(&self.all);
        let hub = all.iter().find(|hub| hub.name.eq_ignore_ascii_case(name));
        let hub = hub.ok_or_else(|| Error::not_found(format!("event hub {name:?}")))?;
        let era = hub.era().saturating_add(1);
        self.storage.save_hub(&SavedHub { era, ..hub.saved() })?;
        for partition in hub.partitions().iter() {
            partition.log().enter(era);
        }
        Ok(())
    }
}

fn invalid_name(error: &InvalidName) -> Error {
    Error::invalid(format!("the {error}"))
}
