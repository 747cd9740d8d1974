//! Shows whether a store keeps what [`CheckpointStore`] promises: one test per property.
//!
//! Every test opens two handles on a [`Place`] of its own, as two instances would, and cleans nothing up. The
//! suite is a development dependency, and properties may be added in any version.
//!
//! In an integration test of the store (not in a unit test, where the trait would be linked twice):
//!
//! ```
//! use std::sync::Arc;
//!
//! use eventhubs_checkpoint_store::MemoryCheckpointStore;
//! use eventhubs_checkpoint_store_testkit::{Capabilities, Place, conformance_tests};
//!
//! async fn open(place: Place) -> Arc<MemoryCheckpointStore> {
//!     place.shared(MemoryCheckpointStore::new)
//! }
//!
//! conformance_tests!(open, Capabilities::all().without_durability().without_fence());
//! # fn main() {}
//! ```
//!
//! A store on a server or in a file opens `place.name()` or `place.folder()`, and creates what is not there
//! yet.

#![allow(clippy::missing_panics_doc, reason = "a property fails by a panic")]

mod capabilities;
mod faulty;
mod place;
mod random;
mod scene;

pub mod batch;
pub mod cancel;
pub mod checkpoint;
pub mod clock;
pub mod deletion;
pub mod fence;
pub mod history;
pub mod names;
pub mod ownership;
pub mod race;
pub mod restart;
pub mod watch;

use std::future::Future;
use std::time::Duration;

use eventhubs_checkpoint_store::CheckpointStore;

pub use capabilities::Capabilities;
pub use faulty::{Faults, FaultyStore};
pub use place::Place;
pub use scene::Scene;

/// How long one property may take: a store that hangs fails its test and not the whole run.
pub const TIME_LIMIT: Duration = Duration::from_secs(120);

/// Runs one property against the store that `open` opens, on a runtime with several threads.
pub fn run<S, F>(
    open: impl Fn(Place) -> F + Send + Sync + 'static,
    capabilities: Capabilities,
    property: impl AsyncFnOnce(Scene),
) where
    S: CheckpointStore,
    F: Future<Output = S> + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    runtime.expect("a runtime can be built in a test").block_on(async {
        let work = async { property(Scene::open(open, capabilities).await).await };
        let limited = tokio::time::timeout(TIME_LIMIT, work);
        limited.await.expect("the property ends within the time limit");
    });
}

/// Expands to one `#[test]` for each property. The first argument is an `async fn(Place) -> impl
/// CheckpointStore`, or such an async closure without captures; each test calls it for two handles on one
/// [`Place`], and again after a restart. The second argument is what the store can do. Default:
/// [`Capabilities::all`].
#[macro_export]
macro_rules! conformance_tests {
    ($open:expr) => {
        $crate::conformance_tests!($open, $crate::Capabilities::all());
    };
    ($open:expr, $capabilities:expr) => {
        $crate::conformance_tests! { @each $open, $capabilities;
            ownership::an_unknown_scope_has_no_records
            ownership::an_absent_record_is_claimed_once
            ownership::a_claim_by_version_needs_a_record
            ownership::a_renewal_is_won_and_changes_the_version
            ownership::no_version_ever_comes_back
            ownership::a_claim_by_an_old_version_is_lost_and_changes_nothing
            ownership::a_steal_is_a_claim_by_version
            ownership::a_released_record_stays_and_has_no_owner
            ownership::a_mark_stays_until_the_next_claim_is_won
            ownership::a_mark_is_gone_after_a_release
            ownership::a_release_may_leave_a_mark
            ownership::two_hundred_partitions_are_listed
            checkpoint::a_missing_checkpoint_is_none
            checkpoint::a_checkpoint_comes_back_as_written
            checkpoint::half_a_checkpoint_comes_back_as_written
            checkpoint::an_absent_checkpoint_is_written_once
            checkpoint::a_write_by_version_needs_a_checkpoint
            checkpoint::a_write_by_an_old_version_is_a_conflict_and_changes_nothing
            checkpoint::a_checkpoint_may_go_back
            checkpoint::no_version_of_a_checkpoint_ever_comes_back
            checkpoint::half_a_checkpoint_replaces_a_whole_one
            checkpoint::checkpoints_and_ownership_do_not_mix
            checkpoint::two_hundred_checkpoints_are_listed
            batch::claims_at_once_have_the_outcomes_of_single_claims
            batch::no_claims_have_no_outcomes
            batch::a_refused_claim_prevents_no_other
            batch::claims_at_once_that_overlap_have_one_winner_each
            batch::two_thousand_partitions_are_claimed_and_renewed
            race::of_many_that_claim_an_absent_record_one_wins
            race::of_many_that_claim_one_version_one_wins
            race::a_release_that_races_with_steals_is_one_of_the_racers
            race::of_many_that_write_over_one_version_one_wins
            race::of_many_that_write_the_first_checkpoint_one_wins
            fence::a_fence_returns_the_checkpoint
            fence::a_fence_without_a_checkpoint_returns_no_position
            fence::the_version_of_a_fence_can_be_written_over
            fence::tokens_grow
            fence::tokens_grow_after_a_deletion
            fence::no_two_ownerships_have_one_token
            watch::an_announced_claim_is_hinted_on_each_handle
            watch::a_hint_comes_whatever_the_case_of_the_scope
            watch::only_won_and_announced_claims_are_hinted
            watch::a_claim_at_once_with_others_is_hinted
            watch::hints_that_nobody_reads_delay_no_claim
            deletion::a_deleted_checkpoint_is_gone
            deletion::a_checkpoint_that_changed_is_not_deleted
            deletion::a_deleted_ownership_record_is_gone
            deletion::an_ownership_record_that_changed_is_not_deleted
            deletion::scopes_with_records_are_listed
            clock::the_store_has_one_clock_or_none
            clock::a_renewal_renews_the_time_of_the_record
            clock::a_read_does_not_renew_the_time_of_the_record
            names::scopes_do_not_mix
            names::scopes_joined_by_a_separator_do_not_mix
            names::namespaces_and_hubs_joined_by_a_separator_do_not_mix
            names::scopes_that_differ_in_case_are_one
            names::partitions_and_owners_that_differ_in_case_are_two
            names::partitions_are_no_numbers
            names::partitions_do_not_mix
            names::names_come_back_as_written
            names::a_name_outside_ascii_comes_back_or_is_refused
            names::an_owner_id_comes_back_as_written
            names::an_owner_id_outside_ascii_comes_back_or_is_refused
            cancel::a_dropped_claim_is_applied_whole_or_not_at_all
            cancel::dropped_claims_at_once_are_each_applied_whole_or_not_at_all
            cancel::a_dropped_checkpoint_is_written_whole_or_not_at_all
            cancel::a_dropped_read_disturbs_no_later_call
            restart::ownership_survives_a_restart
            restart::checkpoints_survive_a_restart
            restart::no_version_comes_back_after_a_restart
            history::a_random_history_is_as_in_the_model
        }
    };
    (@each $open:expr, $capabilities:expr; $($module:ident :: $property:ident)*) => {$(
        #[test]
        fn $property() {
            $crate::run($open, $capabilities, $crate::$module::$property);
        }
    )*};
}

/// The example of the guide, which runs.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/stores.md")]
struct Guide;

#[cfg(test)]
mod tests {
    #[test]
    fn every_property_is_in_the_suite() {
        let suite = include_str!("lib.rs");
        for (module, source) in [
            ("batch", include_str!("batch.rs")),
            ("cancel", include_str!("cancel.rs")),
            ("checkpoint", include_str!("checkpoint.rs")),
            ("clock", include_str!("clock.rs")),
            ("deletion", include_str!("deletion.rs")),
            ("fence", include_str!("fence.rs")),
            ("history", include_str!("history.rs")),
            ("names", include_str!("names.rs")),
            ("ownership", include_str!("ownership.rs")),
            ("race", include_str!("race.rs")),
            ("restart", include_str!("restart.rs")),
            ("watch", include_str!("watch.rs")),
        ] {
            let properties = source.lines().filter_map(|line| line.strip_prefix("pub async fn "));
            for (property, _) in properties.filter_map(|line| line.split_once('(')) {
                assert!(suite.contains(&format!("{module}::{property}\n")), "{module}::{property}");
            }
        }
    }
}
