//! Which harm is done in a round, and when: all of it follows from the round's seed. Pure.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use crate::sandbox::Reach;

/// How often harm is done in a round, where nothing else is asked for.
pub const STEPS: usize = 4;
/// The rounds that every check runs: together they do harm of every kind.
pub const SHORT_SEEDS: Range<u64> = 1..9;

/// Who can be cut off from whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// All clients: they are in one process.
    Clients,
    Sc,
    Spu(i32),
}

/// An SPU, by its number or by what it does when the harm begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Spu(i32),
    /// Who leads that partition, counted over all topics' partitions.
    LeaderOf(usize),
}

/// One end of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Clients,
    Sc,
    Spu(Target),
}

/// One harm, or what an administrator does meanwhile. All but moves and restarts pass when the step ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Killed without a word, and started when the step ends.
    Kill(Target),
    /// Asked to end, and started when the step ends.
    Stop(Target),
    /// Does not run until the step ends.
    Pause(Target),
    KillSc,
    PauseSc,
    /// All SPUs at once.
    KillAll,
    /// Nothing comes through; `one_way` leaves the way from the second end to the first.
    Cut {
        ends: [End; 2],
        one_way: bool,
    },
    /// Alone on its network.
    Isolate(Target),
    /// What it sends is late.
    Slow(Target),
    /// Its disk has no room.
    FillDisk(Target),
    /// Each process is asked to end and started again, one after the other, when the one before is back.
    RestartAll,
    /// A partition, counted over all topics', gets all SPUs for its replicas but this one.
    Move {
        partition: usize,
        without: i32,
    },
    /// An SPU is to give all that it holds to others until the step ends.
    Drain(Target),
    /// So many of a hundred of a partition's records are deleted, the oldest.
    Trim {
        partition: usize,
        percent: u8,
    },
}

/// Harm that is done at once, how long it lasts, and how long nothing is done after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub faults: Vec<Fault>,
    pub lasts: Duration,
    pub rest: Duration,
}

/// The steps of the round of a seed.
#[must_use]
pub(crate) fn plan(seed: u64, step_count: usize, reach: Reach, spu_count: i32) -> Vec<Step> {
    let mut random = Random(seed);
    let mut steps = Vec::new();
    for _ in 0..step_count {
        let mut faults = vec![random.fault(reach, spu_count)];
        // Harm comes in pairs, at times.
        if random.below(3) == 0 {
            faults.push(random.fault(reach, spu_count));
        }
        // One step in three is over before anybody is found to be gone.
        let lasts_ms = match random.below(3) {
            0 => 100 + random.below(1_500),
            _ => 2_000 + random.below(3_000),
        };
        steps.push(Step {
            faults,
            lasts: Duration::from_millis(lasts_ms),
            rest: Duration::from_millis(random.below(1_500)),
        });
    }
    steps
}

/// Numbers that follow from a seed (SplitMix64).
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn spu(&mut self, spu_count: i32) -> i32 {
        let count = u64::try_from(spu_count).unwrap_or(1);
        i32::try_from(self.below(count)).unwrap_or(0)
    }

    fn partition(&mut self) -> usize {
        usize::try_from(self.below(64)).unwrap_or(0)
    }

    fn target(&mut self, spu_count: i32) -> Target {
        if self.below(2) == 0 {
            Target::LeaderOf(self.partition())
        } else {
            Target::Spu(self.spu(spu_count))
        }
    }

    fn end(&mut self, spu_count: i32) -> End {
        match self.below(4) {
            0 => End::Clients,
            1 => End::Sc,
            _ => End::Spu(self.target(spu_count)),
        }
    }

    fn fault(&mut self, reach: Reach, spu_count: i32) -> Fault {
        let kinds = match reach {
            Reach::All => 20,
            Reach::ProcessesOnly => 13,
        };
        match self.below(kinds) {
            0 | 1 => Fault::Kill(self.target(spu_count)),
            2 => Fault::Stop(self.target(spu_count)),
            3 | 4 => Fault::Pause(self.target(spu_count)),
            5 => Fault::KillSc,
            6 => Fault::PauseSc,
            7 => Fault::KillAll,
            8 => Fault::RestartAll,
            9 | 10 => Fault::Move {
                partition: self.partition(),
                without: self.spu(spu_count),
            },
            11 => Fault::Drain(self.target(spu_count)),
            12 => Fault::Trim {
                partition: self.partition(),
                percent: u8::try_from(self.below(50)).unwrap_or(0),
            },
            13..=16 => Fault::Cut {
                ends: [self.end(spu_count), self.end(spu_count)],
                one_way: self.below(2) == 0,
            },
            17 => Fault::Isolate(self.target(spu_count)),
            18 => Fault::Slow(self.target(spu_count)),
            _ => Fault::FillDisk(self.target(spu_count)),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clients => write!(f, "the clients"),
            Self::Sc => write!(f, "the SC"),
            Self::Spu(id) => write!(f, "SPU {id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_steps_and_another_gives_others() {
        let of = |seed| plan(seed, 20, Reach::All, 3);

        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }

    #[test]
    fn the_rounds_of_every_check_do_harm_of_every_kind() {
        let steps = SHORT_SEEDS.flat_map(|seed| plan(seed, STEPS, Reach::All, 4));
        let done: BTreeSet<_> = steps
            .flat_map(|step| step.faults)
            .map(|fault| kind(&fault))
            .collect();

        let lacking: Vec<_> = KINDS.iter().filter(|kind| !done.contains(*kind)).collect();
        assert!(lacking.is_empty(), "{lacking:?}");
    }

    const KINDS: [&str; 17] = [
        "kill",
        "stop",
        "pause",
        "kill the SC",
        "pause the SC",
        "kill all",
        "restart all",
        "move",
        "drain",
        "trim",
        "isolate",
        "slow",
        "fill a disk",
        "cut between SPUs",
        "cut the SC off from an SPU",
        "cut clients off from an SPU",
        "cut clients off from the SC",
    ];

    fn kind(fault: &Fault) -> &'static str {
        match fault {
            Fault::Kill(_) => "kill",
            Fault::Stop(_) => "stop",
            Fault::Pause(_) => "pause",
            Fault::KillSc => "kill the SC",
            Fault::PauseSc => "pause the SC",
            Fault::KillAll => "kill all",
            Fault::RestartAll => "restart all",
            Fault::Move { .. } => "move",
            Fault::Drain(_) => "drain",
            Fault::Trim { .. } => "trim",
            Fault::Isolate(_) => "isolate",
            Fault::Slow(_) => "slow",
            Fault::FillDisk(_) => "fill a disk",
            Fault::Cut { ends, .. } => match ends {
                [End::Spu(_), End::Spu(_)] => "cut between SPUs",
                [End::Sc, End::Spu(_)] | [End::Spu(_), End::Sc] => "cut the SC off from an SPU",
                [_, End::Spu(_)] | [End::Spu(_), _] => "cut clients off from an SPU",
                _ => "cut clients off from the SC",
            },
        }
    }

    #[test]
    fn without_a_network_of_our_own_only_processes_are_harmed() {
        let steps = plan(1, 500, Reach::ProcessesOnly, 3);

        let mut faults = steps.iter().flat_map(|step| &step.faults);
        assert!(!faults.any(|fault| matches!(
            fault,
            Fault::Cut { .. } | Fault::Isolate(_) | Fault::Slow(_) | Fault::FillDisk(_)
        )));
    }
}
