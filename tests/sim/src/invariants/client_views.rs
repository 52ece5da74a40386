//! **What clients see**: no acknowledged record is lost, an idempotent producer's records are there once
//! and in their order, nobody reads what is not committed, and no end of a log goes back; a group's generations fence, and what
//! it has committed is not forgotten. This is the checker of `tests/nemesis` (`checker`, a file each), over what the run's clients
//! wrote down.

use thalweg_nemesis::checker::check;
use thalweg_nemesis::history::History;

/// Every promise that clients saw broken.
#[must_use]
pub(crate) fn client_views(history: &History) -> Vec<String> {
    check(history).iter().map(ToString::to_string).collect()
}
