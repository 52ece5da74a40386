//! What streams whose modules loop until their deadlines take from their neighbours: one that produces,
//! one that consumes, and one that consumes through an honest module.
//!
//! In turn on one cluster: nobody beside them; streams whose module fails at its first call, so that
//! there are the same users and none of the loops; and streams that loop: with one module, each with
//! another that is new, and each with another that the SPU has compiled before. The users have threads of their own, as many as streams are open all the while.

use std::fmt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::{StreamExt, future, stream};
use thalweg_client::{Client, ClientOptions};
use thalweg_tests_hostile::neighbours::{self, Figures};
use thalweg_tests_hostile::{is_held_up, open_once, prepare_prey, texts};
use thalweg_types::TopicName;
use tokio::sync::oneshot;

use crate::peers::{Durability, Thalweg};
use crate::table::median;

/// Short, so that many come to it.
const DEADLINE: [(&str, &str); 1] = [("THALWEG_SPU_SMARTMODULE_DEADLINE", "500ms")];
const PREY: &str = "prey";

/// What is measured, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    /// Where data is written.
    #[arg(long, default_value = "target")]
    dir: std::path::PathBuf,
    /// How often each load is put beside the neighbours; the median is printed.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each turn takes, in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How many streams are open beside the neighbours.
    #[arg(long, default_value_t = 100)]
    streams: usize,
}

/// What goes on beside the neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    Failing,
    Looping,
    LoopingApart,
    LoopingApartKnown,
}

const ALL: [Beside; 5] = [
    Beside::Nothing,
    Beside::Failing,
    Beside::Looping,
    Beside::LoopingApart,
    Beside::LoopingApartKnown,
];

/// What was found: of each load, all turns.
#[derive(Debug)]
pub(crate) struct Neighbours {
    turns: Vec<(Beside, Vec<Turn>)>,
}

#[derive(Debug)]
struct Turn {
    figures: Figures,
    told_count: usize,
    /// Of one processor.
    spu_share: f64,
}

/// Measures on a cluster of its own.
pub(crate) fn neighbours(plan: &Plan) -> anyhow::Result<Neighbours> {
    let scratch = tempfile::tempdir_in(&plan.dir)?;
    let thalweg = start(scratch.path())?;
    let runtime = tokio::runtime::Runtime::new()?;
    let mut turns: Vec<_> = ALL.map(|beside| (beside, Vec::new())).into();
    for round in 0..plan.rounds {
        for index in 0..ALL.len() {
            let (beside, found) = &mut turns[(round + index) % ALL.len()];
            found.push(runtime.block_on(turn(&thalweg, plan, *beside, round))?);
        }
    }
    Ok(Neighbours { turns })
}

fn start(dir: &Path) -> anyhow::Result<Thalweg> {
    let thalweg = Thalweg::start_with(&dir.join("thalweg"), &DEADLINE)?;
    thalweg.create_topic(PREY, Durability::Memory)?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let client = connect(thalweg.cluster()).await?;
        prepare_prey(&client, &PREY.parse()?).await
    })?;
    Ok(thalweg)
}

async fn connect(cluster: &str) -> anyhow::Result<Client> {
    Ok(Client::connect(ClientOptions::new(cluster)).await?)
}

async fn turn(
    thalweg: &Thalweg,
    plan: &Plan,
    beside: Beside,
    round: usize,
) -> anyhow::Result<Turn> {
    let topic = format!("n-{round}-{beside:?}").to_lowercase();
    thalweg.create_topic(&topic, Durability::Memory)?;
    let topic: TopicName = topic.parse()?;
    let client = connect(thalweg.cluster()).await?;
    let users = Users {
        cluster: thalweg.cluster().to_owned(),
        beside,
        wasm: beside.wasm()?,
        streams: plan.streams,
        round,
        lasts: Duration::from_secs(plan.seconds),
    };
    if beside == Beside::LoopingApartKnown && round == 0 {
        users.open_each_once().await?;
    }
    let before = thalweg.spu_usage()?.cpu_seconds;
    let load = async {
        let (done, over) = oneshot::channel();
        let thread = thread::spawn(move || {
            let told = users.run();
            // Whoever waits for it is there.
            let _ = done.send(());
            told
        });
        let _ = over.await;
        thread.join().ok().context("the users' thread panicked")?
    };
    let (told, figures) = neighbours::live(&client, &topic, load).await?;
    let told = told?;
    let cpu_seconds = thalweg.spu_usage()?.cpu_seconds - before;
    for text in &told {
        let is_expected = if beside == Beside::Failing {
            text.contains("unreachable")
        } else {
            is_held_up(text)
        };
        ensure!(is_expected, "a user beside was told: {text}");
    }
    thalweg.delete_topic(topic.as_str())?;
    Ok(Turn {
        figures,
        told_count: told.len(),
        spu_share: cpu_seconds / plan.seconds as f64,
    })
}

impl Beside {
    fn wasm(self) -> anyhow::Result<Vec<u8>> {
        let name = match self {
            Self::Nothing => return Ok(Vec::new()),
            Self::Failing => "trap_in_call",
            Self::Looping | Self::LoopingApart | Self::LoopingApartKnown => "loop_in_call",
        };
        let found = texts()?.into_iter().find(|module| module.name == name);
        Ok(found.context("the corpus has the module")?.wasm)
    }
}

impl fmt::Display for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Failing => "modules that fail at once",
            Self::Looping => "loops of one module",
            Self::LoopingApart => "loops of a new module each",
            Self::LoopingApartKnown => "loops of a module each",
        })
    }
}

/// Those who open streams beside the neighbours.
struct Users {
    cluster: String,
    beside: Beside,
    wasm: Vec<u8>,
    streams: usize,
    round: usize,
    lasts: Duration,
}

impl Users {
    /// Opens streams again and again, on threads of their own; what their users were told.
    fn run(self) -> anyhow::Result<Vec<String>> {
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(async {
            let over = tokio::time::sleep(self.lasts);
            if self.beside == Beside::Nothing {
                over.await;
                return Ok(Vec::new());
            }
            let topic: TopicName = PREY.parse()?;
            let told = stream::iter(0..)
                .map(|number| self.user(&topic, number))
                .buffer_unordered(self.streams)
                .take_until(over)
                .collect::<Vec<_>>();
            told.await.into_iter().collect()
        })
    }

    /// Has the SPU compile all modules.
    async fn open_each_once(&self) -> anyhow::Result<()> {
        let topic: TopicName = PREY.parse()?;
        let opened = (0..self.streams).map(|number| self.user(&topic, number));
        future::try_join_all(opened).await?;
        Ok(())
    }

    async fn user(&self, topic: &TopicName, number: usize) -> anyhow::Result<String> {
        let client = connect(&self.cluster).await?;
        let mut wasm = self.wasm.clone();
        // What the SPU learns of a module in one round says nothing of those of the next, unless it
        // is to know them.
        let which = match self.beside {
            Beside::LoopingApart => [self.round, number],
            Beside::LoopingApartKnown => [usize::MAX, number % self.streams],
            _ => [self.round, usize::MAX],
        };
        mark(&mut wasm, &which);
        Ok(open_once(&client, topic, "hostile", &wasm).await)
    }
}

/// Makes another module of it that does the same, by a section which means nothing.
fn mark(wasm: &mut Vec<u8>, numbers: &[usize; 2]) {
    const CUSTOM_SECTION: u8 = 0;
    const NAME: [u8; 2] = [1, b'n'];
    let mark: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    wasm.extend([CUSTOM_SECTION, (NAME.len() + mark.len()) as u8]);
    wasm.extend(NAME);
    wasm.extend(mark);
}

impl fmt::Display for Neighbours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            "beside",
            "acknowledged/s",
            "p50, p99 ms",
            "plain consumer p50, p99 ms",
            "through a module p50, p99 ms",
            "streams told",
            "SPU's processors",
        ];
        writeln!(f, "| {} |", columns.join(" | "))?;
        writeln!(f, "|{}", "---|".repeat(columns.len()))?;
        for (beside, turns) in &self.turns {
            let of = |figure: fn(&Turn) -> f64| {
                let all: Vec<_> = turns.iter().map(figure).collect();
                median(&all).unwrap_or(f64::NAN)
            };
            writeln!(
                f,
                "| {beside} | {:.0} | {:.1}, {:.1} | {:.1}, {:.1} | {:.1}, {:.1} | {:.0} | {:.2} |",
                of(|turn| turn.figures.acknowledged_per_second),
                of(|turn| turn.figures.acknowledged.p50_ms),
                of(|turn| turn.figures.acknowledged.p99_ms),
                of(|turn| turn.figures.plain.p50_ms),
                of(|turn| turn.figures.plain.p99_ms),
                of(|turn| turn.figures.through_module.p50_ms),
                of(|turn| turn.figures.through_module.p99_ms),
                of(|turn| turn.told_count as f64),
                of(|turn| turn.spu_share),
            )?;
        }
        Ok(())
    }
}
