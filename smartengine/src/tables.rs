//! Tables that modules look keys up in while they run.

use std::fmt::Debug;

/// The tables of a chain, as whoever opens it has them.
///
/// Asked from within a guest's call, on its thread and its stack, as often as the guest likes: an answer must
/// take little time and little stack, and must not wait for anybody who runs a guest.
pub trait Tables: Debug + Send + Sync {
    /// Has `take` read what table `table` has under `key`, if anything; whether there is such a table.
    fn look_up(&self, table: &str, key: &[u8], take: &mut dyn FnMut(&[u8])) -> bool;
}
