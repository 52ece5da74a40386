//! One suite for every example module: the same records come out wherever it is applied, on
//! consume, on a producer's stream, on the topic for every producer, and locally with no cluster.
//!
//! What a place adds of its own is left out of the comparison: records that are appended after the
//! module get offsets of their own. All records go in one batch, so that a module that looks at
//! offsets before the log, where they are places in the batch, sees the same ones.
//!
//! Modules in other languages go through the same places in the tests of compatibility.

mod cases;
mod places;

use thalweg_tests_cluster::LocalCluster;

use self::cases::CASES;
use self::places::{Places, without_offsets};

#[tokio::test(flavor = "multi_thread")]
async fn every_example_gives_the_same_records_in_every_place() {
    let mut cluster = LocalCluster::start(1).await;
    let mut expected = Vec::new();
    for (number, case) in CASES.iter().enumerate() {
        let client = cluster.client().await;
        let place = Places::new(&cluster, &client, number, case);
        let consumed = place.consume().await;
        let local = place.local();
        assert_eq!(consumed, local, "{} on consume", place.name());
        let local = without_offsets(local);
        assert!(!local.is_empty(), "{} lets nothing pass", place.name());
        let produced = place.produce().await;
        assert_eq!(produced, local, "{} on produce", place.name());
        place.prepare_topic().await;
        expected.push(local);
    }

    // A topic's chain has nothing then but what the log says.
    cluster.take_spu(0).kill();
    cluster.start_spu(0);
    let client = cluster.client().await;
    for ((number, case), local) in CASES.iter().enumerate().zip(expected) {
        let place = Places::new(&cluster, &client, number, case);
        let attached = place.topic().await;
        assert_eq!(attached, local, "{} on the topic", place.name());
    }
}

/// Modules that need what transforms alone have: the tour of `cargo demo` and the SPU's tests run them.
const ONLY_IN_TRANSFORMS: [&str; 4] = ["airline_delays", "changed", "named", "scored"];

#[test]
fn no_example_is_left_out() {
    let root = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    for folder in ["examples/flights", "examples/ports", "smartmodule-sdk"] {
        let examples = std::fs::read_dir(root.join(folder).join("examples")).unwrap();
        for example in examples {
            let path = example.unwrap().path();
            let module = path.file_stem().unwrap().to_str().unwrap();
            let has_case = CASES.iter().any(|case| case.module == module);
            let is_known = has_case || ONLY_IN_TRANSFORMS.contains(&module);
            assert!(is_known, "{folder} has `{module}`, which no case is about");
        }
    }
}
