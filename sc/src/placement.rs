//! Where the replicas of new partitions live. Pure: load in, SPUs out.
//!
//! Leaders are spread first, since a leader does most of the work, then replicas. Replicas of one
//! partition stand in different racks for as long as there are racks left. An SPU whose rack is
//! unknown shares no rack with anyone.

use std::collections::BTreeMap;

use thalweg_types::SpuId;

/// An SPU that can take replicas, and what it holds already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The SPU.
    pub spu: SpuId,
    /// Where it stands; `None` where unknown.
    pub rack: Option<String>,
    /// How many partitions it is the preferred leader of.
    pub leaders: usize,
    /// How many replicas it holds, leaders among them.
    pub replicas: usize,
}

/// Why replicas could not be placed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{wanted} {replicas} asked for, {available} {spus} online and not draining, see `thalweg spu list`",
    replicas = if *wanted == 1 { "replica" } else { "replicas" },
    spus = if *available == 1 { "SPU is" } else { "SPUs are" })]
pub struct TooFewSpus {
    /// Replicas of each partition.
    pub wanted: usize,
    /// SPUs that could take one.
    pub available: usize,
}

/// Chooses the SPUs of `partitions` new partitions with `replication_factor` replicas each. The
/// first SPU of each is the preferred leader. The same input gives the same answer.
///
/// # Errors
/// When there are fewer candidates than replicas of one partition.
pub fn place(
    partitions: usize,
    replication_factor: usize,
    candidates: &[Candidate],
) -> Result<Vec<Vec<SpuId>>, TooFewSpus> {
    if candidates.len() < replication_factor {
        return Err(TooFewSpus {
            wanted: replication_factor,
            available: candidates.len(),
        });
    }
    let mut candidates = candidates.to_vec();
    let place_one = |_| place_partition(replication_factor, &mut candidates);
    Ok((0..partitions).map(place_one).collect())
}

/// Chooses for one partition, and adds what it chose to the candidates' load.
fn place_partition(replication_factor: usize, candidates: &mut [Candidate]) -> Vec<SpuId> {
    let mut chosen = Vec::with_capacity(replication_factor);
    let mut racks: BTreeMap<String, usize> = BTreeMap::new();
    while chosen.len() < replication_factor {
        let is_leader = chosen.is_empty();
        let next = candidates
            .iter_mut()
            .filter(|candidate| !chosen.contains(&candidate.spu))
            .min_by_key(|candidate| {
                let in_rack = candidate.rack.as_ref().and_then(|rack| racks.get(rack));
                let in_rack = in_rack.copied().unwrap_or(0);
                if is_leader {
                    (0, candidate.leaders, candidate.replicas, candidate.spu)
                } else {
                    // Among equals the one with most leaders: it will be the last to get another,
                    // so its share of replicas has to come from following.
                    let leaders = usize::MAX - candidate.leaders;
                    (in_rack, candidate.replicas, leaders, candidate.spu)
                }
            })
            .expect("there are as many candidates as replicas");
        next.replicas += 1;
        next.leaders += usize::from(is_leader);
        if let Some(rack) = &next.rack {
            *racks.entry(rack.clone()).or_default() += 1;
        }
        chosen.push(next.spu);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn idle(count: usize) -> Vec<Candidate> {
        in_racks(&vec![None; count])
    }

    fn in_racks(racks: &[Option<&str>]) -> Vec<Candidate> {
        let candidate = |(number, rack): (usize, &Option<&str>)| Candidate {
            spu: SpuId(i32::try_from(number).unwrap()),
            rack: rack.map(str::to_owned),
            leaders: 0,
            replicas: 0,
        };
        racks.iter().enumerate().map(candidate).collect()
    }

    fn spread(counts: &BTreeMap<SpuId, usize>, spus: usize) -> usize {
        let all = (0..spus).map(|spu| {
            let spu = SpuId(i32::try_from(spu).unwrap());
            counts.get(&spu).copied().unwrap_or(0)
        });
        let all: Vec<_> = all.collect();
        all.iter().max().unwrap() - all.iter().min().unwrap()
    }

    #[test]
    fn too_few_spus_are_counted_out() {
        let error = place(1, 3, &idle(1)).unwrap_err();

        assert_eq!(
            error.to_string(),
            "3 replicas asked for, 1 SPU is online and not draining, see `thalweg spu list`"
        );
    }

    #[test]
    fn new_partitions_go_where_the_load_is_least() {
        let mut candidates = idle(3);
        candidates[0].leaders = 5;
        candidates[0].replicas = 5;

        let placed = place(4, 1, &candidates).unwrap();

        assert!(placed.iter().all(|spus| spus[0] != SpuId(0)), "{placed:?}");
    }

    #[test]
    fn an_unknown_rack_is_shared_with_nobody() {
        let candidates = in_racks(&[Some("a"), Some("a"), None, None]);

        let placed = place(8, 3, &candidates).unwrap();

        for spus in placed {
            let in_a = spus.iter().filter(|spu| spu.0 < 2).count();
            assert_eq!(in_a, 1, "{spus:?}");
        }
    }

    proptest! {
        #[test]
        fn every_partition_gets_its_replicas_on_different_spus(
            spus in 1_usize..12, factor in 1_usize..6, partitions in 0_usize..60,
        ) {
            prop_assume!(factor <= spus);

            let placed = place(partitions, factor, &idle(spus)).unwrap();

            prop_assert_eq!(placed.len(), partitions);
            for replicas in placed {
                prop_assert_eq!(replicas.len(), factor);
                let apart: BTreeSet<_> = replicas.iter().collect();
                prop_assert_eq!(apart.len(), factor);
            }
        }

        #[test]
        fn leaders_differ_by_one_at_most_and_replicas_by_two(
            spus in 1_usize..12, factor in 1_usize..6, partitions in 0_usize..60,
        ) {
            prop_assume!(factor <= spus);

            let placed = place(partitions, factor, &idle(spus)).unwrap();

            let mut leaders = BTreeMap::new();
            let mut replicas = BTreeMap::new();
            for partition in &placed {
                *leaders.entry(partition[0]).or_default() += 1;
                for spu in partition {
                    *replicas.entry(*spu).or_default() += 1;
                }
            }
            prop_assert!(spread(&leaders, spus) <= 1, "{:?}", leaders);
            prop_assert!(spread(&replicas, spus) <= 2, "{:?}", replicas);
        }

        #[test]
        fn replicas_stand_in_as_many_racks_as_there_are(
            racks in prop::collection::vec(0_usize..4, 1..10), factor in 1_usize..5,
            partitions in 1_usize..20,
        ) {
            prop_assume!(factor <= racks.len());
            let names: Vec<_> = racks.iter().map(|rack| Some(["a", "b", "c", "d"][*rack])).collect();
            let rack_count = names.iter().collect::<BTreeSet<_>>().len();

            let placed = place(partitions, factor, &in_racks(&names)).unwrap();

            for spus in placed {
                let used: BTreeSet<_> = spus
                    .iter()
                    .map(|spu| racks[usize::try_from(spu.0).unwrap()])
                    .collect();
                prop_assert_eq!(used.len(), factor.min(rack_count));
            }
        }

        #[test]
        fn only_candidates_are_chosen_and_equal_input_gives_equal_output(
            loads in prop::collection::vec((0_usize..50, 0_usize..50), 1..8),
            partitions in 0_usize..20,
        ) {
            let mut candidates = idle(loads.len());
            for (candidate, (leaders, followers)) in candidates.iter_mut().zip(&loads) {
                // Numbers with gaps, as after an SPU was removed.
                candidate.spu = SpuId(candidate.spu.0 * 3 + 1);
                candidate.leaders = *leaders;
                candidate.replicas = leaders + followers;
            }

            let placed = place(partitions, 1, &candidates).unwrap();

            let known: BTreeSet<_> = candidates.iter().map(|candidate| candidate.spu).collect();
            prop_assert!(placed.iter().flatten().all(|spu| known.contains(spu)));
            prop_assert_eq!(placed, place(partitions, 1, &candidates).unwrap());
        }
    }
}
