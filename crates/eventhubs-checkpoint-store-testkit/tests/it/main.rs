//! The suite can fail: stores with the defects that were found in the field do not pass.

mod defective;
mod minimal;

use eventhubs_checkpoint_store_testkit::{
    Capabilities, Place, checkpoint, clock, names, ownership, race, run,
};

use defective::{Defect, DefectiveStore};

macro_rules! fails {
    ($($test:ident: $defect:ident in $module:ident :: $property:ident, $why:literal;)*) => {$(
        #[test]
        #[should_panic(expected = $why)]
        fn $test() {
            let open = async |place: Place| place.shared(|| DefectiveStore::new(Defect::$defect));
            run(open, Capabilities::all(), $module::$property);
        }
    )*};
}

fails! {
    a_store_that_overwrites_fails_the_race: Overwrites in race::of_many_that_claim_one_version_one_wins, "one winner";
    a_store_that_overwrites_fails_the_first_race: Overwrites in race::of_many_that_claim_an_absent_record_one_wins, "one winner";
    a_store_that_overwrites_lets_an_old_version_win: Overwrites in ownership::a_claim_by_an_old_version_is_lost_and_changes_nothing, "is lost, not Won";
    a_store_that_creates_by_version_is_found: Overwrites in ownership::a_claim_by_version_needs_a_record, "is lost, not Won";
    a_store_that_overwrites_checkpoints_is_found: Overwrites in race::of_many_that_write_over_one_version_one_wins, "one winner";
    a_store_that_keeps_the_version_on_renewal_is_found: KeepsVersion in ownership::a_renewal_is_won_and_changes_the_version, "a new version";
    a_store_that_drops_released_records_is_found: ForgetsReleases in ownership::a_released_record_stays_and_has_no_owner, "one record";
    a_store_that_reads_one_page_is_found: ReadsOnePage in ownership::two_hundred_partitions_are_listed, "all of them";
    a_store_that_reads_one_page_of_checkpoints_is_found: ReadsOnePage in checkpoint::two_hundred_checkpoints_are_listed, "all of them";
    a_store_that_folds_groups_is_found: MixesGroups in names::scopes_do_not_mix, "is won, not Lost";
    a_store_with_half_a_clock_is_found: HalfAClock in clock::the_store_has_one_clock_or_none, "a clock in all places";
}
