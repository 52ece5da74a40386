//! How long a producer waits when its partition's leader dies, or stops as it should.
//!
//! One producer sends record after record with `acks=all`, each when the one before is
//! acknowledged. What is measured is the longest time without an acknowledgement, from the kill, or
//! from SIGTERM, until the process is gone and another SPU has led for some records.

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use thalweg_client::{Admin, Client, ProducerOptions, ProducerRecord};
use thalweg_tests_cluster::{LocalCluster, eventually};
use thalweg_types::{SpuId, TopicName};

use crate::stopwatch::Stopwatch;

/// As many as the topic has replicas.
const SPUS: i32 = 3;
/// Records after the leader is gone.
const RECORDS_AFTER: usize = 20;

/// What was found, a time for each round.
#[derive(Debug)]
pub(crate) struct Failover {
    killed: Vec<Duration>,
    stopped: Vec<Duration>,
}

/// Measures on a cluster of its own with the default timing.
pub(crate) fn failover(rounds: usize) -> anyhow::Result<Failover> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut cluster = LocalCluster::start(SPUS).await;
        let config = [("min.insync.replicas", "2")];
        let topic = cluster.create_replicated_topic("failover", 1, SPUS, &config);
        let topic = topic.await;
        let client = cluster.client().await;
        let mut found = Failover {
            killed: Vec::new(),
            stopped: Vec::new(),
        };
        for _ in 0..rounds {
            found
                .killed
                .push(round(&mut cluster, &client, &topic, true).await?);
            found
                .stopped
                .push(round(&mut cluster, &client, &topic, false).await?);
        }
        Ok(found)
    })
}

async fn round(
    cluster: &mut LocalCluster,
    client: &Client,
    topic: &TopicName,
    kills: bool,
) -> anyhow::Result<Duration> {
    let admin = client.admin();
    let leader = settled_leader(&admin, topic).await;
    let producer = client.producer(topic, ProducerOptions::default()).await?;
    producer.send(ProducerRecord::new(b"before")).await?.await?;
    let node = cluster.take_spu(leader.0);
    let ending = tokio::task::spawn_blocking(move || {
        if kills {
            node.kill();
            return Ok(());
        }
        node.stop().map(drop)
    });
    let mut longest = Duration::ZERO;
    let mut left = RECORDS_AFTER;
    while left > 0 {
        if ending.is_finished() {
            left -= 1;
        }
        let stopwatch = Stopwatch::start();
        producer
            .send(ProducerRecord::new(b"meanwhile"))
            .await?
            .await?;
        longest = longest.max(stopwatch.elapsed());
    }
    ending.await.context("the leader's end was not awaited")??;
    cluster.start_spu(leader.0);
    Ok(longest)
}

/// Waits until every replica is in sync, and says who leads.
async fn settled_leader(admin: &Admin, topic: &TopicName) -> SpuId {
    eventually("every replica is in sync", || async {
        let described = admin.describe_topic(topic).await.ok()?;
        let partition = described.partitions.first()?;
        let is_whole = partition.status.isr.len() == partition.spec.replicas.len();
        partition.status.leader.filter(|_| is_whole)
    })
    .await
}

impl fmt::Display for Failover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, times) in [("killed", &self.killed), ("stopped", &self.stopped)] {
            let mut times = times.clone();
            times.sort_unstable();
            let at = |index: usize| times.get(index).map_or(0, Duration::as_millis);
            let (median, last) = (times.len() / 2, times.len().saturating_sub(1));
            writeln!(
                f,
                "leader {what}, {} rounds: a producer waits {} ms at least, {} ms in the median, {} ms at most",
                times.len(),
                at(0),
                at(median),
                at(last)
            )?;
        }
        Ok(())
    }
}
