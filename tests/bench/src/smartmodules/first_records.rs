//! How soon the first record comes: plain, and through a module of 200 kB that the cluster keeps,
//! when the SPU has never seen it, has it compiled on its disk, and has it at hand.

use std::fmt;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use thalweg_client::{
    Client, ClientOptions, ConsumerOptions, EndOffset, NewSmartModule, ProducerOptions,
    ProducerRecord, SmartModuleInvocation, StartOffset,
};
use thalweg_types::TopicName;

use super::PASS_ALL;
use crate::peers::{Durability, Thalweg};
use crate::stopwatch::Stopwatch;
use crate::table::median;

/// How large the module is meant to be, in bytes.
const MODULE_BYTES: usize = 200_000;
/// How many functions come to that.
const FUNCTIONS: usize = 1575;
/// How many the empty filter has itself.
const FUNCTIONS_BEFORE: usize = 3;
/// A module that was registered last opens after this long at most.
const HEARD_WITHIN: Duration = Duration::from_secs(10);
/// Registered after the large module: once the SPU knows it, it knows both.
const SMALL: &str = "small";

/// From asking to the first record, in milliseconds; one for each round.
#[derive(Debug, Default)]
pub(super) struct FirstRecords {
    module_bytes: usize,
    plain: Vec<f64>,
    new: Vec<f64>,
    known: Vec<f64>,
    from_disk: Vec<f64>,
}

/// Measures, with an SPU that starts anew in every round.
pub(super) async fn first_records(
    thalweg: &mut Thalweg,
    rounds: usize,
) -> anyhow::Result<FirstRecords> {
    thalweg.create_topic("first", Durability::Memory)?;
    let topic: TopicName = "first".parse()?;
    let mut found = FirstRecords::default();
    for round in 0..rounds {
        let client = connect(thalweg).await?;
        if round == 0 {
            let producer = client.producer(&topic, ProducerOptions::default()).await?;
            producer.enqueue(ProducerRecord::new(b"first")).await?;
            producer.close().await?;
        }
        let large = format!("large-{round}");
        let wasm = large_module(round)?;
        found.module_bytes = wasm.len();
        let small = wat::parse_str(PASS_ALL)?;
        for (name, wasm) in [(large.as_str(), wasm), (SMALL, small)] {
            let module = NewSmartModule::new(name.parse()?, wasm);
            client.admin().create_smart_module(module).await?;
        }
        until_heard(&client, &topic).await?;
        found.plain.push(first(&client, &topic, None).await?);
        found.new.push(first(&client, &topic, Some(&large)).await?);
        found
            .known
            .push(first(&client, &topic, Some(&large)).await?);

        thalweg.restart_spu()?;
        let client = connect(thalweg).await?;
        until_heard(&client, &topic).await?;
        found
            .from_disk
            .push(first(&client, &topic, Some(&large)).await?);
    }
    Ok(found)
}

async fn connect(thalweg: &Thalweg) -> anyhow::Result<Client> {
    Ok(Client::connect(ClientOptions::new(thalweg.cluster())).await?)
}

/// Waits until the SPU serves the topic through the module that was registered last.
async fn until_heard(client: &Client, topic: &TopicName) -> anyhow::Result<()> {
    let stopwatch = Stopwatch::start();
    while let Err(error) = first(client, topic, Some(SMALL)).await {
        if stopwatch.elapsed() > HEARD_WITHIN {
            bail!("the SPU does not know the module `{SMALL}`: {error}");
        }
    }
    Ok(())
}

/// How long the first record takes, in milliseconds.
async fn first(client: &Client, topic: &TopicName, module: Option<&str>) -> anyhow::Result<f64> {
    let options = ConsumerOptions {
        start: StartOffset::Beginning,
        end: EndOffset::LogEnd,
        smartmodules: module
            .map(SmartModuleInvocation::named)
            .into_iter()
            .collect(),
        ..ConsumerOptions::default()
    };
    let stopwatch = Stopwatch::start();
    let mut consumer = client.consumer(topic, options).await?;
    let batch = consumer.next_batch().await?.context("no record came")?;
    let elapsed = stopwatch.elapsed();
    ensure!(batch.record_count() == 1, "another record came");
    Ok(elapsed.as_secs_f64() * 1e3)
}

/// A filter that keeps everything, with functions of loops, branches, calls and accesses to memory
/// beside it. `seed` makes it another module.
fn large_module(seed: usize) -> anyhow::Result<Vec<u8>> {
    let (start, end) = PASS_ALL
        .rsplit_once(')')
        .context("the empty filter ends with a bracket")?;
    let mut text = start.to_owned();
    for index in 0..FUNCTIONS {
        write_function(&mut text, index, seed)?;
    }
    text.push(')');
    text.push_str(end);
    let wasm = wat::parse_str(text)?;
    let size = wasm.len();
    ensure!(
        (MODULE_BYTES * 19 / 20..=MODULE_BYTES * 21 / 20).contains(&size),
        "the module has {size} bytes"
    );
    Ok(wasm)
}

/// Goes over memory at local 0 for as long as local 1 says, with a byte in local 2 and a sum in local
/// 3. Without names, as those would count as bytes of the module.
fn write_function(text: &mut String, index: usize, seed: usize) -> fmt::Result {
    writeln!(
        text,
        "(func (param i32 i32) (result i32) (local i32 i64)
           (block
             (loop
               (br_if 1 (i32.le_s (local.get 1) (i32.const 0)))
               (local.set 2 (i32.load8_u offset={offset} (local.get 0)))
               (if (i32.lt_u (local.get 2) (i32.const {small}))
                 (then (local.set 3 (i64.add (local.get 3)
                   (i64.extend_i32_u (i32.shl (local.get 2) (i32.const {shift}))))))
                 (else (local.set 3 (i64.mul (local.get 3) (i64.const {factor})))
                   (if (i32.eq (local.get 2) (i32.const {called}))
                     (then (drop (call {before}
                       (local.get 0) (i32.sub (local.get 1) (i32.const 1))))))))
               (i64.store offset={offset} (local.get 0)
                 (i64.xor (local.get 3) (i64.load offset=8 (local.get 0))))
               (local.set 0 (i32.add (local.get 0) (i32.const {step})))
               (local.set 1 (i32.sub (local.get 1) (i32.const {step})))
               (br_if 0 (i32.ne (local.get 2)
                 (select (i32.const 10) (i32.const 13)
                   (i64.gt_s (local.get 3) (i64.const {seed})))))))
           (i32.wrap_i64 (i64.shr_u (local.get 3) (i64.const {shift}))))",
        before = FUNCTIONS_BEFORE + index.saturating_sub(1),
        offset = index * 16 % 4096,
        small = 1 + index % 128,
        shift = 1 + index % 24,
        factor = 3 + index,
        called = index % 256,
        step = 1 + index % 8,
    )
}

impl fmt::Display for FirstRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kilobytes = self.module_bytes / 1000;
        let rows = [
            ("plain".to_owned(), &self.plain),
            (
                format!("a registered module of {kilobytes} kB, new to the SPU"),
                &self.new,
            ),
            (
                "the same, compiled on the SPU's disk".to_owned(),
                &self.from_disk,
            ),
            ("the same, at hand".to_owned(), &self.known),
        ];
        for (what, samples) in rows {
            let what = format!("first record, {what}");
            let middle = median(samples).unwrap_or(f64::NAN);
            let least = samples.iter().copied().fold(f64::NAN, f64::min);
            writeln!(f, "{what:<64} {middle:>7.1} ms, {least:.1} at best")?;
        }
        Ok(())
    }
}
