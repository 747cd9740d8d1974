//! The same seed plays the same run.

use eventhubs_simulator::{Kind, catalog, simulate};

use crate::scenario;

#[test]
fn the_same_seed_plays_the_same_run_to_the_last_call() {
    for name in ["cold_start", "crash", "faulty_store", "mixed_fleet", "rolling_deploy"] {
        let scenario = scenario(name, 8, 32);
        assert_eq!(simulate(&scenario, 7), simulate(&scenario, 7), "{name}");
    }
}

#[test]
fn another_seed_plays_another_run() {
    let scenario = scenario("cold_start", 8, 32);
    assert_ne!(simulate(&scenario, 7).trace, simulate(&scenario, 8).trace);
}

#[test]
fn the_catalog_has_every_file_of_the_folder_under_its_name() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
    let files = std::fs::read_dir(folder).expect("the folder is there");
    let mut files: Vec<_> = files
        .map(|file| file.expect("it can be read").path())
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    let mut names: Vec<_> = catalog().into_iter().map(|scenario| scenario.name).collect();
    files.sort();
    names.sort();
    assert_eq!(names, files);
}

#[test]
fn every_kind_has_a_name_of_its_own() {
    for kind in Kind::ALL {
        assert_eq!(Kind::from_name(kind.name()), Some(kind));
    }
}
