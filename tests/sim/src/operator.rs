//! Somebody who moves replicas and leaderships and trims logs while harm is done, by chance.

use std::convert::Infallible;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use thalweg_client::{Admin, Election};
use thalweg_nemesis::clients::Recorder;
use thalweg_nemesis::trim::trim;
use thalweg_runtime::TaskGroup;
use thalweg_types::{SpuId, TopicPartition};
use tracing::info;

/// How many replicas a partition has.
const REPLICAS: usize = 3;
/// How long nothing is asked for, at most.
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Starts to ask for changes of `partitions` over so many SPUs, until `tasks` are to end. What was asked
/// for is answered then.
pub(crate) fn start_operator(
    admin: Admin,
    partitions: Vec<TopicPartition>,
    spu_count: usize,
    seed: u64,
    recorder: Recorder,
    tasks: &TaskGroup,
) {
    let mut chance = SmallRng::seed_from_u64(seed);
    tasks.spawn("operator", move |stop| async move {
        loop {
            let pause = tokio::time::sleep(PAUSE_MAX.mul_f64(chance.random()));
            if stop.run_until_cancelled(pause).await.is_none() {
                return Ok::<_, Infallible>(());
            }
            let partition = partitions[chance.random_range(0..partitions.len())].clone();
            let asking = ask(&admin, partition, spu_count, &recorder, &mut chance);
            // Who is cut off gets no answer.
            if tokio::time::timeout(ANSWER_MAX, asking).await.is_err() {
                info!("nobody answers");
            }
        }
    });
}

/// Asks for one thing. The SC may be gone, or refuse it: then nothing comes of it.
async fn ask(
    admin: &Admin,
    partition: TopicPartition,
    spu_count: usize,
    recorder: &Recorder,
    chance: &mut SmallRng,
) {
    if chance.random_ratio(1, 5) {
        let trimmed = trim(admin, &partition, chance.random_range(0.0..0.5), recorder).await;
        info!(%partition, ?trimmed, "trimmed a log");
        return;
    }
    if chance.random_ratio(1, 4) {
        let elected = admin.elect_leaders(Some(vec![partition]), Election::Preferred);
        let elected = elected.await;
        info!(?elected, "elected the preferred leader");
        return;
    }
    let mut spus: Vec<_> = (0..i32::try_from(spu_count).unwrap_or(i32::MAX))
        .map(SpuId)
        .collect();
    spus.shuffle(chance);
    spus.truncate(REPLICAS);
    // One in five takes back the move before.
    let to = chance.random_ratio(4, 5).then_some(spus);
    info!(%partition, ?to, "asking for a move");
    let moved = admin.move_replicas(vec![(partition, to)], false).await;
    info!(?moved, "asked for a move");
}
