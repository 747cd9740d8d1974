//! The suite can fail: stores with the defects that were found in the field do not pass, and sound ones do.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod defect;
mod defective;
mod disk;
mod faulty;
mod minimal;

use std::sync::{Arc, Mutex};

use eventhubs_checkpoint_store_testkit::{
    Capabilities, Place, batch, cancel, checkpoint, clock, conformance_tests, deletion, fence, history,
    names, ownership, race, restart, run, watch,
};

use defect::Defect;
use defective::DefectiveStore;
use disk::Disk;

/// Opens handles on one disk, which outlives them all.
fn opener(defect: Defect) -> impl Fn(Place) -> std::future::Ready<DefectiveStore> {
    let disk = Arc::<Mutex<Disk>>::default();
    move |place| std::future::ready(DefectiveStore::open(defect, &disk, &place))
}

mod a_store_with_all_capabilities {
    use super::*;

    conformance_tests!(opener(Defect::None));
}

/// Each defect, a property that finds it, and what the failure says.
macro_rules! fails {
    ($($test:ident: $defect:ident in $module:ident :: $property:ident, $why:literal;)*) => {$(
        #[test]
        #[should_panic(expected = $why)]
        fn $test() {
            run(opener(Defect::$defect), Capabilities::all(), $module::$property);
        }
    )*};
}

fails! {
    a_first_claim_that_overwrites_is_found: OverwritesAsAbsent in ownership::an_absent_record_is_claimed_once, "is lost, not Won";
    a_store_that_overwrites_fails_the_race: Overwrites in race::of_many_that_claim_one_version_one_wins, "one winner";
    a_store_that_overwrites_fails_the_first_race: Overwrites in race::of_many_that_claim_an_absent_record_one_wins, "one winner";
    a_store_that_overwrites_lets_an_old_version_win: Overwrites in ownership::a_claim_by_an_old_version_is_lost_and_changes_nothing, "is lost, not Won";
    a_store_that_creates_by_version_is_found: Overwrites in ownership::a_claim_by_version_needs_a_record, "is lost, not Won";
    a_store_that_overwrites_checkpoints_is_found: Overwrites in race::of_many_that_write_over_one_version_one_wins, "one winner";
    a_store_that_overwrites_first_checkpoints_is_found: Overwrites in race::of_many_that_write_the_first_checkpoint_one_wins, "one winner";
    a_look_before_the_write_is_found: ChecksThenWrites in race::of_many_that_claim_an_absent_record_one_wins, "one winner";
    exclusivity_within_one_handle_is_found: LocksItsHandle in race::of_many_that_claim_one_version_one_wins, "one winner";
    a_release_that_races_is_found: LocksItsHandle in race::a_release_that_races_with_steals_is_one_of_the_racers, "one of a release and a steal wins";
    claims_at_once_that_race_are_found: LocksItsHandle in batch::claims_at_once_that_overlap_have_one_winner_each, "one winner for each partition";
    a_version_kept_on_renewal_is_found: KeepsVersion in ownership::a_renewal_is_won_and_changes_the_version, "a new version";
    a_constant_etag_is_found: ConstantEtag in checkpoint::a_write_by_an_old_version_is_a_conflict_and_changes_nothing, "a new version";
    a_constant_etag_comes_back: ConstantEtag in checkpoint::no_version_of_a_checkpoint_ever_comes_back, "came back";
    versions_counted_by_the_process_are_found: CountsInProcess in restart::no_version_comes_back_after_a_restart, "came back";
    versions_counted_by_the_record_are_found: CountsInRecord in deletion::a_deleted_ownership_record_is_gone, "has a new version";
    a_release_that_deletes_is_found: ForgetsReleases in ownership::a_released_record_stays_and_has_no_owner, "one record";
    a_mark_kept_on_release_is_found: KeepsMarkOnRelease in ownership::a_mark_is_gone_after_a_release, "a release without a mark";
    a_claim_that_is_not_listed_is_found: HidesFirstClaims in ownership::an_absent_record_is_claimed_once, "one record";
    a_store_that_reads_one_page_is_found: ReadsOnePage in ownership::two_hundred_partitions_are_listed, "all of them";
    a_store_that_reads_one_page_of_checkpoints_is_found: ReadsOnePage in checkpoint::two_hundred_checkpoints_are_listed, "all of them";
    a_page_of_two_thousand_is_found: ReadsOnePage in batch::two_thousand_partitions_are_claimed_and_renewed, "all are listed";
    a_listing_from_a_copy_is_found: ReadsOwnCopy in ownership::a_mark_stays_until_the_next_claim_is_won, "is visible on each handle";
    a_write_in_two_steps_is_found: TearsWrites in cancel::a_dropped_claim_is_applied_whole_or_not_at_all, "owner and version match";
    claims_at_once_in_two_steps_are_found: TearsWrites in cancel::dropped_claims_at_once_are_each_applied_whole_or_not_at_all, "owner and version match";
    a_checkpoint_in_two_steps_is_found: TearsCheckpoints in cancel::a_dropped_checkpoint_is_written_whole_or_not_at_all, "never a mixture";
    a_lock_that_outlives_its_call_is_found: StaysLocked in cancel::a_dropped_claim_is_applied_whole_or_not_at_all, "once the dropped write has settled";
    a_lost_batch_is_found: LosesAllClaims in batch::claims_at_once_have_the_outcomes_of_single_claims, "in the order of claims";
    outcomes_in_another_order_are_found: SortsOutcomes in batch::claims_at_once_have_the_outcomes_of_single_claims, "in the order of claims";
    a_time_kept_on_renewal_is_found: KeepsTime in clock::a_renewal_renews_the_time_of_the_record, "is written later";
    an_age_that_a_read_resets_is_found: ReadsRenew in clock::a_read_does_not_renew_the_time_of_the_record, "only a claim that is won";
    a_store_with_half_a_clock_is_found: HalfAClock in clock::the_store_has_one_clock_or_none, "a clock in all places";
    a_store_that_folds_groups_is_found: MixesGroups in names::scopes_do_not_mix, "is won, not Lost";
    scopes_joined_by_a_hyphen_are_found: JoinsScopes in names::scopes_joined_by_a_separator_do_not_mix, "is won, not Lost";
    joined_namespaces_are_found: JoinsScopes in names::namespaces_and_hubs_joined_by_a_separator_do_not_mix, "is won, not Lost";
    scopes_as_they_are_spelled_are_found: SpellsScopes in names::scopes_that_differ_in_case_are_one, "is lost, not Won";
    folded_partitions_are_found: FoldsPartitions in names::partitions_and_owners_that_differ_in_case_are_two, "is won, not Lost";
    partitions_as_numbers_are_found: NumbersPartitions in names::partitions_are_no_numbers, "is won, not Lost";
    offsets_as_numbers_are_found: ParsesOffsets in checkpoint::a_checkpoint_comes_back_as_written, "left == right";
    merged_checkpoints_are_found: MergesCheckpoints in checkpoint::half_a_checkpoint_replaces_a_whole_one, "the old offset is gone";
    a_checkpoint_that_cannot_go_back_is_found: OnlyGoesForward in checkpoint::a_checkpoint_may_go_back, "is written, not Conflict";
    a_fence_that_reads_nothing_is_found: FencesBlindly in fence::a_fence_returns_the_checkpoint, "shows the last checkpoint";
    a_fence_that_renews_is_found: FencesOwnership in fence::the_version_of_a_fence_can_be_written_over, "does not touch the ownership record";
    a_constant_token_is_found: ConstantToken in fence::tokens_grow, "is larger";
    a_token_that_a_deletion_takes_is_found: DeletesToken in fence::tokens_grow_after_a_deletion, "is larger";
    fences_that_race_are_found: RacesFences in fence::no_two_ownerships_have_one_token, "a token of its own";
    a_hint_to_its_own_handle_is_found: HintsOwnHandle in watch::an_announced_claim_is_hinted_on_each_handle, "is hinted";
    claims_at_once_without_a_hint_are_found: HintsSingleClaims in watch::a_claim_at_once_with_others_is_hinted, "is hinted";
    hints_by_spelling_are_found: SpellsScopes in watch::a_hint_comes_whatever_the_case_of_the_scope, "is hinted";
    a_hint_of_a_lost_claim_is_found: HintsLostClaims in watch::only_won_and_announced_claims_are_hinted, "a hint is of a claim";
    a_hint_of_another_scope_is_found: HintsEverybody in watch::only_won_and_announced_claims_are_hinted, "a hint is of a claim";
    a_claim_that_waits_for_readers_is_found: WaitsForReaders in watch::hints_that_nobody_reads_delay_no_claim, "a claim waits for nobody";
    a_deletion_without_a_condition_is_found: DeletesAnything in deletion::a_checkpoint_that_changed_is_not_deleted, "it has another version";
    a_deletion_by_a_version_of_long_ago_is_found: DeletesAnything in deletion::a_deleted_checkpoint_is_gone, "the version is of long ago";
    a_deletion_of_a_renewed_record_is_found: DeletesAnything in deletion::an_ownership_record_that_changed_is_not_deleted, "it has another version";
    scopes_without_a_record_are_found: ListsEmptyScopes in deletion::scopes_with_records_are_listed, "a scope without a record";
    a_store_that_forgets_owners_is_found: Forgets in restart::ownership_survives_a_restart, "after the restart";
    a_store_that_forgets_checkpoints_is_found: Forgets in restart::checkpoints_survive_a_restart, "after the restart";
    a_history_finds_versions_that_come_back: CountsInRecord in history::a_random_history_is_as_in_the_model, "replays it";
    a_history_finds_what_overwrites: OverwritesAsAbsent in history::a_random_history_is_as_in_the_model, "replays it";
}
