//! The rules hold in every order of events; without any one of them a promise breaks.

use stateright::{Checker, HasDiscoveries, Model};
use thalweg_model::{Bounds, Crashes, Durability, Replication, Rules};

/// Nothing happens but appends and fetches.
const NOTHING: Bounds = Bounds {
    records: 2,
    epochs: 2,
    kills: 0,
    machine_crashes: 0,
    crashes: Crashes::NotTheLast,
    suspicions: 0,
    lags: 0,
    partition_epochs: 4,
    refusals: 1,
    damages: 0,
    controllers: 0,
};

/// One that is not in sync, and whose leader is about to have it join, loses its memory.
const OUT_OF_SYNC_FORGETS: Bounds = Bounds {
    records: 1,
    epochs: 1,
    kills: 1,
    machine_crashes: 1,
    crashes: Crashes::OutOfSync,
    suspicions: 1,
    partition_epochs: 3,
    refusals: 0,
    ..NOTHING
};

fn model(durability: Durability, rules: Rules, bounds: Bounds) -> Replication {
    Replication {
        durability,
        min_isr: 2,
        rules,
        bounds,
    }
}

/// Looks at every state, and sees that no promise breaks and that what should be possible is.
fn assert_sound(durability: Durability, bounds: Bounds, possible: &[&'static str]) {
    let checker = model(durability, Rules::ALL, bounds)
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    println!(
        "{durability:?}, {bounds:?}: {} states, {} steps deep",
        checker.unique_state_count(),
        checker.max_depth()
    );
    for name in PROMISES {
        if let Some(path) = checker.discovery(name) {
            panic!("not so: {name}\n{:#?}", path.into_actions());
        }
    }
    assert!(checker.is_done(), "not every state was looked at");
    for name in possible {
        let found = checker.discovery(name).is_some();
        assert!(found, "within these bounds it never happened that {name}");
    }
}

/// Sees that with these rules some promise breaks, and says which and how.
fn assert_breaks(durability: Durability, rules: Rules, bounds: Bounds) {
    let checker = model(durability, rules, bounds)
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let broken = PROMISES
        .iter()
        .find_map(|name| Some((name, checker.discovery(name)?)));
    let Some((name, path)) = broken else {
        let states = checker.unique_state_count();
        panic!("all promises were kept in {states} states without the rule");
    };
    println!("not so: {name}, after {:?}", path.into_actions());
}

/// Sees that within the bounds all promises are kept, and not with these rules.
fn assert_needed(durability: Durability, rules: Rules, bounds: Bounds) {
    assert_sound(durability, bounds, &[]);
    assert_breaks(durability, rules, bounds);
}

const PROMISES: [&str; 4] = [
    "no acknowledged record is lost",
    "the log's end never goes back",
    "logs agree below their high watermarks",
    "each epoch has one leader",
];
const SECOND_ACKNOWLEDGES: &str = "a second leader acknowledges";
const JOINS_AGAIN: &str = "a replica leaves and joins again";
const TWO_LEAD: &str = "two lead at once";

#[test]
fn a_process_that_dies_or_stops_loses_nothing() {
    let bounds = Bounds {
        kills: 1,
        ..NOTHING
    };
    let possible = [SECOND_ACKNOWLEDGES, JOINS_AGAIN, TWO_LEAD];
    assert_sound(Durability::Fsync, bounds, &possible);
    assert_sound(Durability::Memory, bounds, &possible);
}

#[test]
fn one_that_is_taken_for_dead_and_lives_on_loses_nothing() {
    let bounds = Bounds {
        suspicions: 1,
        ..NOTHING
    };
    let possible = [SECOND_ACKNOWLEDGES, JOINS_AGAIN, TWO_LEAD];
    assert_sound(Durability::Fsync, bounds, &possible);
    let bounds = Bounds {
        records: 3,
        ..bounds
    };
    assert_sound(Durability::Memory, bounds, &possible);
}

#[test]
fn in_sync_replicas_that_change_while_others_fail_lose_nothing() {
    let bounds = Bounds {
        records: 1,
        epochs: 1,
        lags: 1,
        suspicions: 1,
        partition_epochs: 3,
        ..NOTHING
    };
    assert_sound(Durability::Fsync, bounds, &[JOINS_AGAIN]);
}

#[test]
fn a_machine_that_forgets_its_memory_loses_nothing_while_another_replica_is_in_sync() {
    let bounds = Bounds {
        machine_crashes: 1,
        ..NOTHING
    };
    assert_sound(
        Durability::Memory,
        bounds,
        &[SECOND_ACKNOWLEDGES, JOINS_AGAIN],
    );
}

#[test]
#[ignore = "takes minutes: `just model --include-ignored` runs it"]
fn more_of_everything_loses_nothing() {
    assert_sound(Durability::Memory, OUT_OF_SYNC_FORGETS, &[JOINS_AGAIN]);
    let three = Bounds {
        records: 3,
        epochs: 1,
        suspicions: 1,
        partition_epochs: 3,
        ..NOTHING
    };
    let possible = [SECOND_ACKNOWLEDGES, JOINS_AGAIN, TWO_LEAD];
    assert_sound(Durability::Fsync, three, &possible);
    let crash = Bounds {
        machine_crashes: 1,
        suspicions: 1,
        partition_epochs: 5,
        ..NOTHING
    };
    assert_sound(Durability::Memory, crash, &possible);
}

#[test]
#[ignore = "takes minutes: `just model --include-ignored` runs it"]
fn three_records_over_two_elections_lose_nothing() {
    let bounds = Bounds {
        records: 3,
        suspicions: 2,
        ..NOTHING
    };
    let possible = [SECOND_ACKNOWLEDGES, JOINS_AGAIN, TWO_LEAD];
    assert_sound(Durability::Memory, bounds, &possible);
}

#[test]
fn memory_is_lost_with_the_machine_of_the_only_in_sync_replica() {
    let bounds = Bounds {
        machine_crashes: 1,
        crashes: Crashes::Any,
        lags: 1,
        ..NOTHING
    };
    assert_breaks(Durability::Memory, Rules::ALL, bounds);
}

#[test]
fn who_may_have_joined_must_count() {
    let rules = Rules {
        count_joining: false,
        ..Rules::ALL
    };
    assert_needed(
        Durability::Memory,
        rules,
        Bounds {
            records: 1,
            suspicions: 2,
            ..NOTHING
        },
    );
}

#[test]
fn who_joins_must_keep_all_that_is_committed() {
    let rules = Rules {
        join_with_all: false,
        ..Rules::ALL
    };
    assert_needed(
        Durability::Memory,
        rules,
        Bounds {
            records: 1,
            suspicions: 2,
            ..NOTHING
        },
    );
}

#[test]
fn only_in_sync_replicas_may_be_elected() {
    let rules = Rules {
        elect_in_sync: false,
        ..Rules::ALL
    };
    assert_needed(
        Durability::Memory,
        rules,
        Bounds {
            records: 1,
            suspicions: 2,
            ..NOTHING
        },
    );
}

#[test]
fn logs_must_be_cut_where_their_epochs_part() {
    let rules = Rules {
        part_by_epochs: false,
        ..Rules::ALL
    };
    assert_breaks(
        Durability::Fsync,
        rules,
        Bounds {
            kills: 1,
            suspicions: 1,
            ..NOTHING
        },
    );
}

#[test]
fn only_the_life_that_caught_up_may_join() {
    let rules = Rules {
        check_lives: false,
        ..Rules::ALL
    };
    assert_breaks(Durability::Memory, rules, OUT_OF_SYNC_FORGETS);
}

#[test]
fn who_stopped_uncleanly_must_leave_where_memory_counts() {
    let rules = Rules {
        distrust: false,
        ..Rules::ALL
    };
    assert_needed(
        Durability::Memory,
        rules,
        Bounds {
            machine_crashes: 1,
            ..NOTHING
        },
    );
}

#[test]
fn who_stopped_uncleanly_must_wait_for_a_reign_of_its_own() {
    let rules = Rules {
        wait_after_unclean_stop: false,
        ..Rules::ALL
    };
    assert_needed(
        Durability::Fsync,
        rules,
        Bounds {
            kills: 1,
            ..NOTHING
        },
    );
}

#[test]
fn an_unclean_stop_counts_until_the_sc_has_heard_of_it() {
    let rules = Rules {
        tell_before_forgetting: false,
        ..Rules::ALL
    };
    let bounds = Bounds {
        records: 1,
        kills: 1,
        machine_crashes: 1,
        ..NOTHING
    };
    assert_needed(Durability::Memory, rules, bounds);
}

/// A copy is damaged, goes, and is filled anew, while an SPU is taken for dead.
const DAMAGED: Bounds = Bounds {
    records: 1,
    epochs: 1,
    suspicions: 1,
    damages: 1,
    partition_epochs: 3,
    refusals: 0,
    ..NOTHING
};

#[test]
fn a_damaged_copy_that_is_made_anew_loses_nothing() {
    assert_sound(Durability::Memory, DAMAGED, &[JOINS_AGAIN]);
}

#[test]
#[ignore = "takes minutes: `just model --include-ignored` runs it"]
fn a_damaged_copy_that_is_made_anew_while_another_sc_takes_over_loses_nothing() {
    let bounds = Bounds {
        controllers: 1,
        ..DAMAGED
    };
    assert_sound(Durability::Memory, bounds, &[JOINS_AGAIN]);
}

#[test]
fn a_damaged_copy_may_go_only_once_the_sc_says_so() {
    let rules = Rules {
        refill_on_word: false,
        ..Rules::ALL
    };
    assert_breaks(Durability::Memory, rules, DAMAGED);
}

#[test]
fn only_the_copy_that_caught_up_may_join() {
    let rules = Rules {
        check_copies: false,
        ..Rules::ALL
    };
    assert_breaks(Durability::Memory, rules, DAMAGED);
}
