//! One run: a cluster, clients at work, harm by seed, healing, and what is said of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use thalweg_client::Acks;
use thalweg_nemesis::clients::Recorder;
use tokio::sync::watch;
use turmoil::Sim;

use crate::client_hosts::{Stage, Work};
use crate::cluster::{Cluster, LATENCY_MAX};
use crate::faults::{Fault, Place, Shape, Step, plan};
use crate::invariants::{Invariants, client_views};
use crate::one_thread::{self, EPOCH_SECONDS};
use crate::trace::Trace;

/// How far all hosts go before the next one has its turn.
const TICK: Duration = Duration::from_millis(1);
/// How many ticks lie between two looks at what must hold.
const LOOK_TICKS: u64 = 20;
/// How long a run may take, in its own time.
const RUN_WITHIN: Duration = Duration::from_secs(600);
/// How many segments may be under way on a connection before its sender waits.
const SEGMENTS_MAX: usize = 4096;
/// How many hosts clients are on.
const CLIENT_HOSTS: usize = 2;
/// One seed in so many has transforms: a run takes a third longer with them.
const TRANSFORMED_ONE_IN: u64 = 2;
/// How many partitions the topic has.
const PARTITIONS: i32 = 2;

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// All follows from it.
    pub seed: u64,
    /// How often harm is done.
    pub step_count: usize,
    /// Whom producers wait for.
    pub acks: Acks,
    /// Whether disks say that they have synced, and have not.
    pub lying_disks: bool,
    /// Which log lines are of the trace.
    pub filter: String,
    /// Whether they are shown.
    pub is_shown: bool,
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// What stands for all that was done.
    pub hash: u64,
    /// How long it took, in its own time.
    pub elapsed: Duration,
    /// From the end of all harm until every replica was in sync.
    pub healed_after: Duration,
    /// Records that were acknowledged.
    pub acknowledged_count: usize,
    /// Records that were read while harm was done.
    pub read_count: usize,
    /// Records that members of the group were given.
    pub group_read_count: i64,
    /// Records that transforms made of them.
    pub transformed_count: usize,
    /// Files of which a power loss took something.
    pub lost_files: usize,
    /// Bits that flipped on disks.
    pub flipped_bits: usize,
    /// What must not be.
    pub broken: Vec<String>,
}

/// Runs a seed on a thread of its own, with all files in the current folder, so that no line says
/// where that is.
///
/// # Errors
/// When something does not come back that should.
pub fn run(options: RunOptions) -> anyhow::Result<Outcome> {
    let thread = std::thread::Builder::new().spawn(move || {
        one_thread::begin(options.seed);
        run_here(&options)
    })?;
    thread
        .join()
        .unwrap_or_else(|_| Err(anyhow::anyhow!("the simulation panicked")))
}

fn run_here(options: &RunOptions) -> anyhow::Result<Outcome> {
    let panics = count_panics();
    let trace = Trace::begin(&options.filter, options.is_shown)?;
    let mut chance = SmallRng::seed_from_u64(options.seed);
    let shape = Shape {
        spus: chance.random_range(3..=5),
        clients: CLIENT_HOSTS,
    };
    let durability = if chance.random_ratio(1, 3) {
        "memory"
    } else {
        "fsync"
    };
    let steps = as_promised(plan(options.seed, options.step_count, shape), durability);
    let mut sim = network(options.seed);
    let cluster = Cluster::start(&mut sim, shape, options);
    let work = work(options, &cluster, durability)?;
    for host in 0..shape.clients {
        let clients = work.clone().clients(host);
        sim.client(format!("clients-{host}"), async move { Ok(clients.await?) });
    }
    let observing = work.clone().observe(shape.clients);
    sim.client("observer", async move { Ok(observing.await?) });

    let mut running = Running {
        sim,
        cluster,
        work,
        trace,
        invariants: Invariants::default(),
        broken: Vec::new(),
        ticks: 0,
    };
    let ended = running.run(&steps);
    // What was seen before is what a failure may come from.
    let said = running.broken.join("\n");
    ended.with_context(|| format!("{} in the topic of this run; {said}", durability))?;
    running.finish(panics.load(Ordering::Relaxed))
}

/// What the durability promises nothing about is not done: with `memory` power is lost by one SPU alone,
/// while others are in sync, no sync fails, and no bit flips.
fn as_promised(mut steps: Vec<Step>, durability: &str) -> Vec<Step> {
    if durability != "memory" {
        return steps;
    }
    for step in &mut steps {
        let power_off = step.faults.iter().find_map(|fault| match fault {
            Fault::PowerOff(spu) => Some(Fault::PowerOffWhole(*spu)),
            _ => None,
        });
        if let Some(power_off) = power_off {
            step.faults = vec![power_off];
        }
        for fault in &mut step.faults {
            *fault = match *fault {
                Fault::FailSyncs(spu) | Fault::FlipBit(spu) => Fault::Kill(Place::Spu(spu)),
                Fault::PowerOffAll => Fault::Kill(Place::Sc),
                other => other,
            };
        }
    }
    steps
}

fn network(seed: u64) -> Sim<'static> {
    turmoil::Builder::new()
        .epoch(UNIX_EPOCH + Duration::from_secs(EPOCH_SECONDS))
        .rng_seed(seed)
        .tick_duration(TICK)
        .simulation_duration(RUN_WITHIN * 2)
        .min_message_latency(Duration::ZERO)
        .max_message_latency(LATENCY_MAX)
        .tcp_capacity(SEGMENTS_MAX)
        .enable_random_order()
        .build()
}

fn work(options: &RunOptions, cluster: &Cluster, durability: &'static str) -> anyhow::Result<Work> {
    let data_dirs = cluster.spus().iter().map(|spu| spu.data_dir().to_owned());
    Ok(Work {
        topic: "harmed".parse()?,
        durability,
        partition_count: PARTITIONS,
        is_transformed: options.seed.is_multiple_of(TRANSFORMED_ONE_IN),
        acks: options.acks,
        seed: options.seed,
        spu_count: cluster.spus().len(),
        data_dirs: data_dirs.collect(),
        recorder: Recorder::default(),
        stage: Arc::new(watch::Sender::new(Stage::Preparing)),
        ended: Arc::new(watch::Sender::new(0)),
        healed_after: Arc::new(Mutex::new(Duration::ZERO)),
    })
}

/// Counts the panics of this process from now on. The product's tasks contain theirs, so that nobody
/// else would notice.
fn count_panics() -> Arc<AtomicUsize> {
    let panics = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&panics);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        counted.fetch_add(1, Ordering::Relaxed);
        before(panic);
    }));
    panics
}

struct Running {
    sim: Sim<'static>,
    cluster: Cluster,
    work: Work,
    trace: Trace,
    invariants: Invariants,
    broken: Vec<String>,
    ticks: u64,
}

impl Running {
    fn run(&mut self, steps: &[Step]) -> anyhow::Result<()> {
        while *self.work.stage.borrow() < Stage::Working {
            self.tick()?;
        }
        for step in steps {
            self.trace.line(format_args!("harm: {:?}", step.faults));
            for process_first in [true, false] {
                for fault in &step.faults {
                    if is_of_process(fault) == process_first {
                        self.cluster.harm(&mut self.sim, *fault)?;
                    }
                }
            }
            self.pass(step.lasts)?;
            self.trace.line(format_args!("harm is over"));
            self.cluster.undo(&mut self.sim, &step.faults);
            self.pass(step.rest)?;
        }
        self.work.stage.send_replace(Stage::Healed);
        while !self.tick()? {}
        Ok(())
    }

    fn pass(&mut self, time: Duration) -> anyhow::Result<()> {
        let until = self.sim.elapsed() + time;
        while self.sim.elapsed() < until {
            self.tick()?;
        }
        Ok(())
    }

    /// Whether all clients have ended.
    fn tick(&mut self) -> anyhow::Result<bool> {
        let all_ended = self
            .sim
            .step()
            .map_err(|error| anyhow::anyhow!("{error:#}"))?;
        one_thread::set_elapsed(self.sim.elapsed());
        self.ticks += 1;
        if self.ticks.is_multiple_of(LOOK_TICKS) {
            let (work, spus) = (&self.work, self.cluster.spus());
            let broken = self
                .invariants
                .look(spus, &work.topic, work.partition_count);
            for property in broken {
                self.trace.line(format_args!("BROKEN {property}"));
                if !self.broken.contains(&property) && self.broken.len() < 20 {
                    self.broken.push(property);
                }
            }
        }
        anyhow::ensure!(
            self.sim.elapsed() < RUN_WITHIN,
            "the run did not end within {RUN_WITHIN:?}"
        );
        Ok(all_ended)
    }

    fn finish(mut self, panics: usize) -> anyhow::Result<Outcome> {
        let history = std::mem::take(&mut *self.work.recorder.history());
        self.trace.line(format_args!("{history:?}"));
        self.broken.extend(client_views(&history));
        for spu in self.cluster.spus() {
            let ended = spu.failures().into_iter();
            let ended = ended.map(|reason| format!("SPU {} ended by itself: {reason}", spu.id()));
            self.broken.extend(ended);
        }
        if panics > 0 {
            self.broken.push(format!("{panics} panics"));
        }
        let healed_after = self.work.healed_after.lock();
        let healed_after = *healed_after.unwrap_or_else(PoisonError::into_inner);
        Ok(Outcome {
            hash: self.trace.hash(),
            elapsed: self.sim.elapsed(),
            healed_after,
            acknowledged_count: history.acknowledged_count(),
            read_count: history.read_count(),
            group_read_count: history.group_read_count(),
            transformed_count: history.transformed_count(),
            lost_files: self.cluster.lost_files,
            flipped_bits: self.cluster.flipped_bits,
            broken: self.broken,
        })
    }
}

/// Whether a fault ends a process. A power loss mends lines, so the cuts come after it.
fn is_of_process(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Kill(_)
            | Fault::PowerOff(_)
            | Fault::PowerOffWhole(_)
            | Fault::PowerOffAll
            | Fault::Stop(_)
            | Fault::FlipBit(_)
    )
}
