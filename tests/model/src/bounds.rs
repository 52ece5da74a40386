//! Which rules hold in a model, and how much may happen in it.

/// What a crash leaves of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// What was synced.
    Fsync,
    /// All, or nothing where the machine went with the process.
    Memory,
}

/// Which rules hold. All of them do in the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A replica that may have been let join counts for the high watermark.
    pub count_joining: bool,
    /// Only who keeps all that is committed, and all from before the reign, joins.
    pub join_with_all: bool,
    /// Only in-sync replicas are elected.
    pub elect_in_sync: bool,
    /// Followers cut where epochs part, and not at their high watermark.
    pub part_by_epochs: bool,
    /// Only the life in which a replica caught up may join.
    pub check_lives: bool,
    /// Who stopped uncleanly leaves the in-sync replicas where memory counts as durable.
    pub distrust: bool,
    /// Who stopped uncleanly leads only once the SC has given it a reign.
    pub wait_after_unclean_stop: bool,
    /// An unclean stop counts until the SC has heard of it, whatever stops come after.
    pub tell_before_forgetting: bool,
    /// A damaged copy goes only once the SC says so.
    pub refill_on_word: bool,
    /// Only the copy that caught up may join, and not one that was made anew since.
    pub check_copies: bool,
}

impl Rules {
    /// As in the product.
    pub const ALL: Self = Self {
        count_joining: true,
        join_with_all: true,
        elect_in_sync: true,
        part_by_epochs: true,
        check_lives: true,
        distrust: true,
        wait_after_unclean_stop: true,
        tell_before_forgetting: true,
        refill_on_word: true,
        check_copies: true,
    };
}

/// Whose machines may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crashes {
    /// Those of replicas that are not in sync.
    OutOfSync,
    /// Not that of the only in-sync replica: what only that one is trusted to keep goes with it, as
    /// `memory` says.
    NotTheLast,
    Any,
}

/// How much may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub records: u8,
    /// How often the leader epoch may grow: elections and restarts of leaders.
    pub epochs: i32,
    /// How often a process is killed or stopped.
    pub kills: u8,
    /// How often the machine goes with it, where memory counts as durable.
    pub machine_crashes: u8,
    /// Whose machines.
    pub crashes: Crashes,
    /// How often a process that runs is taken for dead.
    pub suspicions: u8,
    /// How often a follower lags too long.
    pub lags: u8,
    /// How often the partition's leader or in-sync replicas may change: who lags may leave and join
    /// again for ever.
    pub partition_epochs: i32,
    /// After how many refused changes a leader still asks again.
    pub refusals: u8,
    /// How often a copy is found to be damaged.
    pub damages: u8,
    /// How often another SC takes over.
    pub controllers: u8,
}
