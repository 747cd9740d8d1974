//! What these tests share: names, balancers and rounds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use eventhubs_checkpoint_store::{CheckpointStore, Claim, ClaimOutcome, Expected, Ownership};
use eventhubs_load_balancer::{Balancer, Peer, Settings, Strategy, View};
use eventhubs_types::{ConsumerScope, OwnerId, PartitionId};

pub(crate) fn scope() -> ConsumerScope {
    ConsumerScope::new(
        "contoso.servicebus.windows.net".parse().expect("a valid namespace"),
        "orders".parse().expect("a valid event hub"),
        "$Default".parse().expect("a valid consumer group"),
    )
}

pub(crate) fn settings(strategy: Strategy) -> Settings {
    Settings::default().with_strategy(strategy)
}

pub(crate) fn greedy() -> Settings {
    settings(Strategy::Greedy)
}

pub(crate) fn partition(id: usize) -> PartitionId {
    id.to_string().parse().expect("a valid partition id")
}

pub(crate) fn partitions(count: usize) -> Vec<PartitionId> {
    (0..count).map(partition).collect()
}

pub(crate) fn owner(id: &str) -> OwnerId {
    id.parse().expect("a valid owner id")
}

/// A balancer whose random choices follow from its name.
pub(crate) fn balancer(store: &Arc<impl CheckpointStore>, name: &str, settings: &Settings) -> Balancer {
    let seed = name.bytes().fold(7, |seed, byte| seed * 31 + u64::from(byte));
    let store: Arc<dyn CheckpointStore> = Arc::clone(store) as _;
    Balancer::new(store, scope(), owner(name), settings.clone(), seed)
}

pub(crate) fn owned(balancer: &Balancer) -> BTreeSet<PartitionId> {
    balancer.owned().cloned().collect()
}

pub(crate) async fn records(store: &impl CheckpointStore) -> Vec<Ownership> {
    store.list_ownership(&scope()).await.expect("the store is well again").records
}

/// Writes a record as another SDK would, whatever is there.
pub(crate) async fn overwrite(store: &impl CheckpointStore, id: &PartitionId, name: Option<&str>) {
    let before = records(store).await.into_iter().find(|record| record.partition == *id);
    let expected = before.map_or(Expected::Absent, |record| Expected::Version(record.version));
    let outcome = store.claim_ownership(&scope(), &Claim::new(id.clone(), name.map(owner), expected)).await;
    assert!(matches!(outcome, ClaimOutcome::Won(_)), "{outcome:?}");
}

/// What the instance `me` sees where owner `i` holds the partitions `p` with `assignment[p] == Some(i)`.
pub(crate) fn view_of(assignment: &[Option<usize>], me: usize) -> View {
    let mut view = View::default();
    let mut others: BTreeMap<usize, Vec<PartitionId>> = BTreeMap::new();
    for (id, holder) in assignment.iter().enumerate() {
        match holder {
            None => view.free.push(partition(id)),
            Some(holder) if *holder == me => view.mine.push(partition(id)),
            Some(holder) => others.entry(*holder).or_default().push(partition(id)),
        }
    }
    let peer = |(holder, held): (usize, _)| Peer::new(owner(&holder.to_string()), held);
    view.others = others.into_iter().map(peer).collect();
    view
}
