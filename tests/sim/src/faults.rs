//! Which harm is done in a run, and when: all of it follows from the seed. Pure.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// A host that can be harmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// One of the hosts that clients are on.
    Clients(usize),
    /// The SC.
    Sc,
    /// An SPU.
    Spu(usize),
}

/// One harm. It ends with its step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process is killed, and its page cache stays; started again at the end.
    Kill(Place),
    /// The SPU's power goes: what was not synced may be lost.
    PowerOff(usize),
    /// The same, of an SPU whose partitions have all of their replicas in sync; of another one the
    /// process is killed.
    PowerOffWhole(usize),
    /// The power of all SPUs goes.
    PowerOffAll,
    /// The SPU is asked to end, and started again at the end.
    Stop(usize),
    /// What goes from one to the other is lost.
    CutOneWay(Place, Place),
    /// What goes between two is lost.
    Cut(Place, Place),
    /// What goes between two waits until the end.
    Hold(Place, Place),
    /// Nothing reaches the SPU or comes from it.
    Isolate(usize),
    /// What goes between two takes up to so many milliseconds, and comes out of order.
    Slow(Place, Place, u64),
    /// The SPU's disk takes so many more bytes.
    FillDisk(usize, usize),
    /// The SPU's disk takes up to so many milliseconds for a sync.
    SlowDisk(usize, u64),
    /// Syncs fail; the SPU is started anew at the end, as its log is out of use until then.
    FailSyncs(usize),
    /// The SPU is killed, and a bit of a record flips on its disk, of a partition that has all of its
    /// replicas in sync: alone, as nobody can mend what two have lost. Started again at the end.
    FlipBit(usize),
    /// The SPU's wall clock is wrong by so many milliseconds.
    Skew(usize, i64),
}

/// Harm that is done at once, how long it lasts, and how long nothing is done after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// What is done.
    pub(crate) faults: Vec<Fault>,
    /// How long.
    pub(crate) lasts: Duration,
    /// The pause after it.
    pub(crate) rest: Duration,
}

/// How large the cluster is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// How many SPUs.
    pub(crate) spus: usize,
    /// How many hosts with clients.
    pub(crate) clients: usize,
}

/// The steps of the run of a seed.
#[must_use]
pub(crate) fn plan(seed: u64, step_count: usize, shape: Shape) -> Vec<Step> {
    let mut chance = SmallRng::seed_from_u64(seed);
    let mut steps = Vec::new();
    for _ in 0..step_count {
        let fault_count = [1, 1, 2, 2, 3][chance.random_range(0..5)];
        let mut faults: Vec<_> = (0..fault_count)
            .map(|_| fault(&mut chance, shape))
            .collect();
        let flips_bit = chance.random_ratio(1, 10);
        if flips_bit {
            faults = vec![Fault::FlipBit(chance.random_range(0..shape.spus))];
        }
        // One step in three is over before anybody is found to be gone.
        let lasts_ms = if !flips_bit && chance.random_ratio(1, 3) {
            chance.random_range(50..1_500)
        } else {
            chance.random_range(1_500..6_000)
        };
        steps.push(Step {
            faults,
            lasts: Duration::from_millis(lasts_ms),
            rest: Duration::from_millis(chance.random_range(0..2_000)),
        });
    }
    steps
}

fn fault(chance: &mut SmallRng, shape: Shape) -> Fault {
    let spu = chance.random_range(0..shape.spus);
    let (one, other) = pair(chance, shape);
    match chance.random_range(0..20) {
        0 | 1 => Fault::Kill(Place::Spu(spu)),
        2 => Fault::Kill(Place::Sc),
        3..=5 => Fault::PowerOff(spu),
        6 => Fault::PowerOffAll,
        7 => Fault::Stop(spu),
        8 | 9 => Fault::CutOneWay(one, other),
        10 | 11 => Fault::Cut(one, other),
        12 => Fault::Hold(one, other),
        13 => Fault::Isolate(spu),
        14 | 15 => Fault::Slow(one, other, chance.random_range(20..800)),
        16 => Fault::FillDisk(spu, chance.random_range(0..20_000)),
        17 => Fault::SlowDisk(spu, chance.random_range(20..1_500)),
        18 => Fault::FailSyncs(spu),
        _ => Fault::Skew(spu, chance.random_range(-600_000..600_000)),
    }
}

/// Two hosts that speak to each other.
fn pair(chance: &mut SmallRng, shape: Shape) -> (Place, Place) {
    let spu = chance.random_range(0..shape.spus);
    let clients = Place::Clients(chance.random_range(0..shape.clients));
    let (one, other) = match chance.random_range(0..9) {
        0 | 1 => (Place::Spu(spu), Place::Sc),
        2 | 3 => (Place::Spu(spu), clients),
        4 => (clients, Place::Sc),
        _ => {
            let other = (spu + chance.random_range(1..shape.spus)) % shape.spus;
            (Place::Spu(spu), Place::Spu(other))
        }
    };
    if chance.random_bool(0.5) {
        (one, other)
    } else {
        (other, one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        spus: 3,
        clients: 2,
    };

    #[test]
    fn a_seed_has_one_plan() {
        assert_eq!(plan(7, 20, SHAPE), plan(7, 20, SHAPE));
        assert_ne!(plan(7, 20, SHAPE), plan(8, 20, SHAPE));
    }

    #[test]
    fn nobody_is_cut_off_from_itself() {
        let mut chance = SmallRng::seed_from_u64(1);
        for _ in 0..1_000 {
            let (one, other) = pair(&mut chance, SHAPE);
            assert_ne!(one, other);
        }
    }
}
