//! SmartModules in C, AssemblyScript and Go, written from the ABI's page alone: in the engine, by
//! `thalweg smartmodule test`, and on an SPU: on consume, on a producer's stream, and on a topic.

use std::path::{Path, PathBuf};
use std::time::Instant;

use thalweg_record::{Batch, BatchBuilder, BatchOptions, Codec, Header};
use thalweg_smartengine::{Chain, ChainError, ChainOptions, EngineOptions, SmartEngine, Step};
use thalweg_tests_cluster::LocalCluster;
use thalweg_tests_compat::{Unavailable, assemblyscript_module, c_module, go_module};
use thalweg_types::Offset;

/// The exit status of a SmartModule that was refused or failed; see docs/guide/cli.md.
const SMARTMODULE_FAILED: i32 = 6;
/// The records' offsets count from here, and rise by two.
const BASE_OFFSET: i64 = 42;
const BASE_TIME_MS: i64 = 1_357_034_400_000;

/// What a module is given and should make of it.
struct Case {
    module: PathBuf,
    param: Option<(&'static str, &'static str)>,
    values: &'static [&'static str],
    /// Which of them comes out, and as what.
    expected: &'static [(usize, &'static str)],
    /// A value that the module fails at; `None` is null.
    bad: Option<&'static str>,
    failure: &'static str,
    log_line: &'static str,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_in_c_keeps_tells_and_fails() {
    let Some(module) = or_skip(c_module()) else {
        return;
    };
    run_everywhere(&Case {
        module,
        param: Some(("word", "late")),
        values: &["UA late", "in time", "", "lat", "so late it is"],
        expected: &[(0, "UA late"), (4, "so late it is")],
        bad: None,
        failure: "a record without a value contains nothing",
        log_line: "keeping what contains late",
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_in_assemblyscript_maps_tells_and_fails() {
    let Some(module) = or_skip(assemblyscript_module()) else {
        return;
    };
    run_everywhere(&Case {
        module,
        param: None,
        values: &["212", "-40", "0", "98.6"],
        expected: &[(0, "100.0"), (1, "-40.0"), (2, "-17.8"), (3, "37.0")],
        bad: Some("warm"),
        failure: "`warm` is no temperature",
        log_line: "turning degrees Fahrenheit into Celsius",
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_in_go_filters_maps_tells_and_fails() {
    let Some(module) = or_skip(go_module()) else {
        return;
    };
    run_everywhere(&Case {
        module,
        param: Some(("level", "warn")),
        values: &[
            r#"{"level":"warn","time":"2013-01-01T10:00:00Z","message":"disk slow"}"#,
            r#"{"level":"info","time":"2013-01-01T10:00:01Z","message":"started"}"#,
            r#"{"level":"error","time":"2013-01-01T11:00:02+01:00","message":"disk füll"}"#,
        ],
        expected: &[
            (0, "10:00:00 WARN disk slow"),
            (2, "10:00:02 ERROR disk füll"),
        ],
        bad: Some(r#"{"level":"dire"}"#),
        failure: "`dire` is no level",
        log_line: "keeping lines from level warn on",
    })
    .await;
}

fn or_skip(module: Result<PathBuf, Unavailable>) -> Option<PathBuf> {
    module.map_err(|unavailable| unavailable.skip()).ok()
}

async fn run_everywhere(case: &Case) {
    in_the_engine(case);
    let cluster = LocalCluster::start(1).await;
    by_smartmodule_test(case, &cluster);
    on_an_spu(case, &cluster).await;
    by_produce(case, &cluster).await;
    on_a_topic(case, &cluster).await;
}

// ---- In the engine

fn in_the_engine(case: &Case) {
    let engine = SmartEngine::new(EngineOptions::default()).unwrap();
    let wasm = std::fs::read(&case.module).unwrap();
    let started = clock();
    let module = engine.load(&wasm).unwrap();
    let loaded = started.elapsed();
    let open = |params: &[(&str, &str)]| {
        let params = params
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()));
        engine.open_chain(ChainOptions::new(vec![Step {
            params: params.collect(),
            ..Step::new(module.clone(), "foreign")
        }]))
    };
    let started = clock();
    let mut chain = open(case.param.as_slice()).unwrap();
    eprintln!(
        "{}: {} bytes, compiled in {loaded:?}, started in {:?}, {} bytes of memory",
        case.module.display(),
        wasm.len(),
        started.elapsed(),
        chain.memory_bytes()
    );

    // All goes well, then a record fails behind others.
    let good: Vec<_> = case.values.iter().copied().map(Some).collect();
    let mut then_bad = good.clone();
    then_bad.push(case.bad);
    let expected: Vec<_> = case
        .expected
        .iter()
        .map(|&(index, value)| shown(index, value))
        .collect();
    for values in [good, then_bad] {
        let batch = batch(&values);
        let output = chain.process(Batch::parse(&batch).unwrap(), Offset::ZERO);
        let output = output.unwrap();
        let records = output.records.unwrap();
        let records = Batch::parse(&records).unwrap();
        records.verify_crc().unwrap();
        assert_eq!(read(&records), expected);
    }
    let last = batch(&[case.bad]);
    let failed = chain.process(Batch::parse(&last).unwrap(), Offset::ZERO);
    let ChainError::Guest {
        offset, message, ..
    } = failed.unwrap_err()
    else {
        panic!("the record should have failed");
    };
    assert_eq!(offset, Offset(BASE_OFFSET + 2 * case.values.len() as i64));
    assert!(message.contains(case.failure), "{message}");

    // Small batches after large ones, and more records than one bitmap byte or buffer holds.
    let mut chain = open(case.param.as_slice()).unwrap();
    for count in [1, 9, 2_000, 3, 8_000, 1] {
        let values: Vec<_> = (0..count).map(|_| Some(case.values[0])).collect();
        let batch = batch(&values);
        let batch = Batch::parse(&batch).unwrap();
        let (mut given, mut from) = (0, Offset::ZERO);
        while from < batch.header().next_offset() {
            let output = chain.process(batch, from).unwrap();
            given += output.record_count;
            from = output.next_offset;
        }
        assert_eq!(given, count);
    }

    if case.param.is_some() {
        let refused = open(&[("colour", "red")]).unwrap_err();
        assert!(refused.to_string().contains("`colour`"), "{refused}");
    }
    let chain = open(case.param.as_slice()).unwrap();
    a_section_that_does_not_parse_is_the_batches_fault(chain, case.values[0]);
}

fn a_section_that_does_not_parse_is_the_batches_fault(mut chain: Chain, value: &str) {
    let whole = batch(&[Some(value), Some(value)]);
    let whole = Batch::parse(&whole).unwrap();
    let mut section = whole.records_bytes().to_vec();
    // The second record lacks its last byte, so that its headers are cut short.
    section.pop();
    let broken = thalweg_record::assemble_batch(*whole.header(), &section, Codec::None).unwrap();

    let failed = chain.process(Batch::parse(&broken).unwrap(), Offset::ZERO);

    assert!(matches!(failed, Err(ChainError::Batch(_))), "{failed:?}");
}

fn batch(values: &[Option<&str>]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        codec: Codec::None,
        base_offset: Offset(BASE_OFFSET),
        ..BatchOptions::default()
    });
    for (index, value) in values.iter().enumerate() {
        let header = Header {
            key: b"from",
            value: Some(b"here"),
        };
        let (delta, time_ms) = (2 * index as i32, BASE_TIME_MS + 300 * index as i64);
        let key = index.is_multiple_of(2).then(|| index.to_string());
        let key = key.as_ref().map(String::as_bytes);
        let value = value.map(str::as_bytes);
        builder
            .push_at(delta, time_ms, key, value, &[header])
            .unwrap();
    }
    builder.build().unwrap()
}

/// A record as [`read`] gives it: what the module must leave alone is as it was.
fn shown(index: usize, value: &str) -> String {
    let key = index.is_multiple_of(2).then(|| index.to_string());
    let (offset, time_ms) = (
        BASE_OFFSET + 2 * index as i64,
        BASE_TIME_MS + 300 * index as i64,
    );
    format!("{offset} {time_ms} {key:?} {value} from=here")
}

fn read(batch: &Batch<'_>) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let records = batch.records(usize::MAX).unwrap();
    records
        .iter()
        .map(|record| {
            let record = record.unwrap();
            let key = record.key.map(text);
            let value = text(record.value.unwrap());
            let mut shown = format!(
                "{} {} {key:?} {value}",
                record.offset.0, record.timestamp_ms
            );
            for header in record.headers {
                let (key, value) = (text(header.key), text(header.value.unwrap()));
                shown += &format!(" {key}={value}");
            }
            shown
        })
        .collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a module takes to start is the machine's own time"
)]
fn clock() -> Instant {
    Instant::now()
}

// ---- By `thalweg smartmodule test`

fn by_smartmodule_test(case: &Case, cluster: &LocalCluster) {
    let texts: Vec<_> = case
        .values
        .iter()
        .map(|value| format!("--text={value}"))
        .collect();
    let mut arguments = vec!["--log=info", "smartmodule", "test"];
    let module = invocation(&case.module, case.param);
    arguments.extend(module.iter().map(String::as_str));
    arguments.extend(texts.iter().map(String::as_str));

    let output = cluster.thalweg(&arguments);

    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        expected_lines(case)
    );
    assert!(told.contains(case.log_line), "{told}");
}

fn invocation(module: &Path, param: Option<(&str, &str)>) -> Vec<String> {
    let mut arguments = vec![format!("--smartmodule-path={}", module.display())];
    arguments.extend(param.map(|(name, value)| format!("--param={name}={value}")));
    arguments
}

fn expected_lines(case: &Case) -> String {
    let lines = case.expected.iter().map(|(_, value)| format!("{value}\n"));
    lines.collect()
}

// ---- On an SPU

async fn on_an_spu(case: &Case, cluster: &LocalCluster) {
    use thalweg_client::{ProducerOptions, ProducerRecord};

    let topic = cluster.create_topic("foreign", 1, &[]).await;
    let client = cluster.client().await;
    let producer = client
        .producer(&topic, ProducerOptions::default())
        .await
        .unwrap();
    let values = case.values.iter().copied().map(Some);
    for value in values.chain([case.bad]) {
        let mut record = ProducerRecord::new(b"");
        record.value = value.map(str::as_bytes);
        producer.send(record).await.unwrap().await.unwrap();
    }
    let module = invocation(&case.module, case.param);
    let mut arguments = vec!["consume", "foreign", "-B", "-d"];
    arguments.extend(module.iter().map(String::as_str));

    let output = cluster.thalweg(&arguments);

    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(SMARTMODULE_FAILED), "{told}");
    assert!(told.contains(case.failure), "{told}");
    let failed_at = format!("offset {}", case.values.len());
    assert!(told.contains(&failed_at), "{told}");
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        expected_lines(case)
    );
    let log = cluster.spu(0).log_text();
    assert!(log.contains(case.log_line), "{log}");
}

/// On the stream of a producer, whose records are then what came out.
async fn by_produce(case: &Case, cluster: &LocalCluster) {
    cluster.create_topic("own", 1, &[]).await;
    let module = invocation(&case.module, case.param);
    let mut produce = vec!["produce", "own", "--file"];
    let file = lines_of(case, cluster);
    produce.push(&file);
    produce.extend(module.iter().map(String::as_str));

    run(cluster, &produce);

    let consumed = run(cluster, &["consume", "own", "-B", "-d"]);
    assert_eq!(consumed, expected_lines(case));
}

/// On a topic, for a producer that knows nothing of it.
async fn on_a_topic(case: &Case, cluster: &LocalCluster) {
    let wasm = case.module.to_str().unwrap();
    let create = ["smartmodule", "create", "foreign", "--wasm-file", wasm];
    run(cluster, &create);
    let with: String = case
        .param
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    let chain = cluster.path("chain.yaml");
    let steps = format!("transforms:\n  - uses: foreign\n    with: {{{with}}}\n");
    std::fs::write(&chain, steps).unwrap();
    let chain = chain.to_str().unwrap();
    run(
        cluster,
        &["topic", "create", "attached", "--transforms", chain],
    );
    let file = lines_of(case, cluster);

    run(cluster, &["produce", "attached", "--file", &file]);

    let consumed = run(cluster, &["consume", "attached", "-B", "-d"]);
    assert_eq!(consumed, expected_lines(case));
}

/// A file with a line for each value.
fn lines_of(case: &Case, cluster: &LocalCluster) -> String {
    let path = cluster.path("values.txt");
    let lines: String = case
        .values
        .iter()
        .map(|value| format!("{value}\n"))
        .collect();
    std::fs::write(&path, lines).unwrap();
    path.to_str().unwrap().to_owned()
}

fn run(cluster: &LocalCluster, arguments: &[&str]) -> String {
    let output = cluster.thalweg(arguments);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {told}");
    String::from_utf8(output.stdout).unwrap()
}
