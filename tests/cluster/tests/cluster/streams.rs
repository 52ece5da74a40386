//! Streams with SmartModules that fail, look back and aggregate, as users run them: nothing is
//! skipped or seen twice, whatever is killed meanwhile.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use thalweg_client::{
    Checkpoint, Client, Consumer, ConsumerOptions, EndOffset, ProducerOptions, ProducerRecord,
    SmartModuleInvocation, StartOffset,
};
use thalweg_tests_cluster::{LocalCluster, eventually, program_path};
use thalweg_types::{PartitionIndex, TopicName};

/// The file of one of the SDK's example modules, built on first use.
fn example(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        let built = Command::new(env!("CARGO"))
            .current_dir(&root)
            .args([
                "build",
                "--quiet",
                "-p",
                "thalweg-smartmodule",
                "--examples",
            ])
            .args(["--target", "wasm32-unknown-unknown"])
            .args(["--profile", "smartmodule"])
            .status()
            .unwrap();
        assert!(built.success(), "the example modules don't build");
        root.join("target/wasm32-unknown-unknown/smartmodule/examples")
    });
    folder.join(name).with_extension("wasm")
}

fn module(name: &str) -> SmartModuleInvocation {
    SmartModuleInvocation::wasm(name, std::fs::read(example(name)).unwrap())
}

async fn produce(client: &Client, topic: &TopicName, records: &[(String, String)]) {
    let options = ProducerOptions {
        batch_bytes: 20_000,
        ..ProducerOptions::default()
    };
    let producer = client.producer(topic, options).await.unwrap();
    for (key, value) in records {
        let record = ProducerRecord::new(value.as_bytes()).key(key.as_bytes());
        producer
            .enqueue(record.partition(PartitionIndex(0)))
            .await
            .unwrap();
    }
    producer.close().await.unwrap();
}

fn to_the_end(smartmodules: Vec<SmartModuleInvocation>) -> ConsumerOptions {
    ConsumerOptions {
        start: StartOffset::Beginning,
        end: EndOffset::LogEnd,
        smartmodules,
        ..ConsumerOptions::default()
    }
}

/// Offsets and values of the next batch.
async fn next(consumer: &mut Consumer) -> Option<Vec<(i64, String)>> {
    let batch = consumer.next_batch().await.unwrap()?;
    let text = |value: Option<&[u8]>| String::from_utf8(value.unwrap().to_vec()).unwrap();
    let records = batch.records();
    Some(
        records
            .map(|record| (record.offset.0, text(record.value)))
            .collect(),
    )
}

async fn values(client: &Client, topic: &str) -> Vec<String> {
    let topic = topic.parse().unwrap();
    let mut consumer = client
        .consumer(&topic, to_the_end(Vec::new()))
        .await
        .unwrap();
    let mut values = Vec::new();
    while let Some(records) = next(&mut consumer).await {
        values.extend(records.into_iter().map(|(_, value)| value));
    }
    values
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The sums by key after each record, as an aggregate by key gives them.
fn sums(records: &[(String, String)]) -> Vec<(i64, String)> {
    let mut by_key = BTreeMap::<&str, i64>::new();
    let mut all = Vec::with_capacity(records.len());
    for (offset, (key, value)) in records.iter().enumerate() {
        let sum = by_key.entry(key).or_default();
        *sum += value.parse::<i64>().unwrap();
        all.push((i64::try_from(offset).unwrap(), sum.to_string()));
    }
    all
}

fn numbers(count: usize) -> Vec<(String, String)> {
    (0..count)
        .map(|number| (format!("key-{}", number % 97), number.to_string()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_by_key_come_out_as_if_no_spu_had_been_killed() {
    let mut cluster = LocalCluster::start(1).await;
    let topic = cluster
        .create_topic("numbers", 1, &[("segment.bytes", "100000")])
        .await;
    let client = cluster.client().await;
    let records = numbers(20_000);
    produce(&client, &topic, &records).await;

    let options = ConsumerOptions {
        accumulate_by_key: true,
        partition_bytes_max: 30_000,
        prefetch_bytes: 30_000,
        ..to_the_end(vec![module("sum")])
    };
    let mut consumer = client.consumer(&topic, options).await.unwrap();
    let mut seen = Vec::new();
    let mut kills_left = 2;
    while let Some(records) = next(&mut consumer).await {
        seen.extend(records);
        if kills_left > 0 && seen.len() > (3 - kills_left) * 5_000 {
            kills_left -= 1;
            cluster.take_spu(0).kill();
            cluster.start_spu(0);
        }
    }

    assert_eq!(kills_left, 0);
    assert_eq!(seen, sums(&records));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_goes_on_from_its_checkpoint_as_if_it_had_never_stopped() {
    let cluster = LocalCluster::start(1).await;
    let topic = cluster.create_topic("numbers", 1, &[]).await;
    let client = cluster.client().await;
    let records = numbers(5_000);
    produce(&client, &topic, &records).await;

    let mut seen = Vec::new();
    let mut stored: Option<bytes::Bytes> = None;
    // A consumer that takes a few batches, stores where it stands, and is gone.
    loop {
        let mut options = ConsumerOptions {
            accumulate_by_key: true,
            partition_bytes_max: 10_000,
            ..to_the_end(vec![module("sum")])
        };
        if let Some(stored) = stored.take() {
            let checkpoint = Checkpoint::from_bytes(stored).unwrap();
            options.resume.insert(PartitionIndex(0), checkpoint);
        }
        let mut consumer = client.consumer(&topic, options).await.unwrap();
        let before = seen.len();
        while let Some(records) = next(&mut consumer).await {
            seen.extend(records);
            let checkpoint = consumer.checkpoint(PartitionIndex(0));
            stored = checkpoint.map(Checkpoint::to_bytes);
            if seen.len() > before + 1_000 && stored.is_some() {
                break;
            }
        }
        if seen.len() == before {
            break;
        }
    }

    assert_eq!(seen, sums(&records));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_becomes_ten_thousand_is_seen_whole_and_once() {
    let mut cluster = LocalCluster::start(1).await;
    let topic = cluster.create_topic("lines", 1, &[]).await;
    let client = cluster.client().await;
    let records: Vec<_> = (0..30)
        .map(|number| ("k".to_owned(), format!("line {number}")))
        .collect();
    produce(&client, &topic, &records).await;
    let options = ConsumerOptions {
        // Far less than what comes of one record.
        partition_bytes_max: 1_000,
        fetch_bytes_max: 1_000,
        prefetch_bytes: 1_000,
        ..to_the_end(vec![module("repeat").param("times", "10000")])
    };

    let mut consumer = client.consumer(&topic, options).await.unwrap();
    let mut counts = BTreeMap::<i64, usize>::new();
    let mut is_killed = false;
    while let Some(records) = next(&mut consumer).await {
        for (offset, _) in records {
            *counts.entry(offset).or_default() += 1;
        }
        if !std::mem::replace(&mut is_killed, true) {
            cluster.take_spu(0).kill();
            cluster.start_spu(0);
        }
    }

    let expected: BTreeMap<_, _> = (0..30).map(|offset| (offset, 10_000)).collect();
    assert_eq!(counts, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_skipped_is_said_and_dead_letters_say_where_from_and_why() {
    let cluster = LocalCluster::start(1).await;
    let topic = cluster.create_topic("moods", 1, &[]).await;
    cluster.create_topic("failed", 1, &[]).await;
    let client = cluster.client().await;
    let mood = |value: &str| ("k".to_owned(), value.to_owned());
    produce(
        &client,
        &topic,
        &["fine", "fail", "good", "panic"].map(mood),
    )
    .await;
    let wasm = example("moody");
    let wasm = wasm.to_str().unwrap();
    let consume = ["consume", "moods", "-B", "-d", "--smartmodule-path", wasm];

    let stopped = cluster.thalweg(&consume);
    let skipped = cluster.thalweg(&[&consume[..], &["--on-error", "skip"]].concat());
    let policy = ["--on-error", "dead_letter:failed"];
    let dead = cluster.thalweg(&[&consume[..], &policy].concat());
    let form = "{{value}} {{headers}}";
    let letters = cluster.thalweg(&["consume", "failed", "-B", "-d", "-F", form]);
    let itself = cluster.thalweg(&[&consume[..], &["--on-error", "dead_letter:moods"]].concat());
    let nowhere = cluster.thalweg(&[&consume[..], &["--on-error", "dead_letter:gone"]].concat());

    assert_eq!(stopped.status.code(), Some(6));
    assert_eq!(String::from_utf8_lossy(&stopped.stdout), "fine\n");
    assert_eq!(stdout(&skipped), "fine\ngood\n");
    let said = stderr(&skipped);
    assert!(
        said.contains("2 records were skipped: SmartModule `moody`"),
        "{said}"
    );
    assert!(said.contains("in a panic at offset 3"), "{said}");
    assert_eq!(stdout(&dead), "fine\ngood\n");
    assert!(stderr(&dead).contains("2 records were put into the dead-letter topic"));
    let letters = stdout(&letters);
    assert!(letters.starts_with("fail "), "{letters}");
    for part in [
        "thalweg.source.topic",
        "moods",
        "in no mood for offset 1",
        "\npanic ",
    ] {
        assert!(letters.contains(part), "{part} is not in {letters}");
    }
    assert_eq!(itself.status.code(), Some(6));
    assert!(stderr(&itself).contains("choose another dead-letter topic"));
    assert!(
        stderr(&nowhere).contains("`thalweg topic create gone`"),
        "{}",
        stderr(&nowhere)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_in_yaml_does_the_same_on_a_stream_and_in_a_local_run() {
    let cluster = LocalCluster::start(1).await;
    let topic = cluster.create_topic("lines", 1, &[]).await;
    cluster.create_topic("loud", 1, &[]).await;
    let client = cluster.client().await;
    let lines = [
        "a needle",
        "hay",
        "fail",
        "bad",
        "a needle",
        "more needles",
        "bad",
    ];
    produce(
        &client,
        &topic,
        &lines.map(|line| ("k".to_owned(), line.to_owned())),
    )
    .await;
    let chain = cluster.path("chain.yaml");
    let yaml = format!(
        "transforms:\n  - uses: {}\n    on_error: skip\n  - uses: {}\n    lookback: {{last: 1}}\n  - uses: {}\n    with: {{text: needle}}\n  - uses: {}\n",
        example("moody").display(),
        example("dedup").display(),
        example("contains").display(),
        example("shout").display(),
    );
    std::fs::write(&chain, yaml).unwrap();
    let chain = chain.to_str().unwrap();
    let file = cluster.path("lines.txt");
    std::fs::write(&file, lines.join("\n")).unwrap();
    let file = file.to_str().unwrap();

    let local = cluster.thalweg(&["smartmodule", "test", "--file", file, "-t", chain]);
    let on_stream = cluster.thalweg(&["consume", "lines", "-B", "-d", "-t", chain]);
    let from_4 = cluster.thalweg(&["consume", "lines", "--start", "1", "-d", "-t", chain]);
    let from_topic = [
        "smartmodule",
        "test",
        "--topic",
        "lines",
        "--start",
        "1",
        "-t",
        chain,
    ];
    let local_from_4 = cluster.thalweg(&from_topic);
    let line = format!(r#"{{"uses": "{}"}}"#, example("shout").display());
    let produced = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "printf 'one\\ntwo\\n' | {} --cluster {} produce loud --transforms-line '{line}'",
            program_path("thalweg").unwrap().display(),
            cluster.sc_address(),
        ))
        .output()
        .unwrap();

    assert_eq!(stdout(&local), "A NEEDLE\nMORE NEEDLES\n");
    assert_eq!(stdout(&on_stream), stdout(&local));
    assert!(
        stderr(&on_stream).contains("1 record was skipped"),
        "{}",
        stderr(&on_stream)
    );
    assert!(
        stderr(&local).contains("1 record was skipped"),
        "{}",
        stderr(&local)
    );
    // `a needle` was seen before the start.
    assert_eq!(stdout(&from_4), "MORE NEEDLES\n");
    assert_eq!(stdout(&local_from_4), stdout(&from_4));
    assert!(produced.status.success(), "{}", stderr(&produced));
    assert_eq!(values(&client, "loud").await, ["ONE", "TWO"]);

    std::fs::write(
        cluster.path("chain.yaml"),
        "transforms:\n  - uses: a\n    whith: {}\n",
    )
    .unwrap();
    let wrong = cluster.thalweg(&["consume", "lines", "-B", "-d", "-t", chain]);
    assert_eq!(wrong.status.code(), Some(2));
    let said = stderr(&wrong);
    assert!(
        said.contains("chain.yaml") && said.contains("line 3"),
        "{said}"
    );
    assert!(said.contains("`on_error`"), "{said}");
}

/// `thalweg consume moods`, whose dead letters have nowhere to go. Ends when dropped.
struct WaitingConsumer {
    process: Child,
}

impl WaitingConsumer {
    fn start(cluster: &LocalCluster, failed: &TopicName) -> Self {
        let process = Command::new(program_path("thalweg").unwrap())
            .args(["--cluster", cluster.sc_address(), "consume", "moods", "-B"])
            .arg("--smartmodule-path")
            .arg(example("moody"))
            .args(["--on-error", &format!("dead_letter:{failed}")])
            .env("THALWEG_CONFIG", cluster.path("no-profiles.toml"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { process }
    }

    /// The first line that it says on the side, however long that takes.
    async fn warning(mut self) -> (Self, String) {
        let stderr = self.process.stderr.take().unwrap();
        (self, first_line(stderr).await)
    }

    async fn first_value(mut self) -> String {
        let stdout = self.process.stdout.take().unwrap();
        first_line(stdout).await
    }
}

impl Drop for WaitingConsumer {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

async fn first_line(output: impl Read + Send + 'static) -> String {
    let read = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    });
    read.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_topic_that_is_deleted_ends_the_stream_with_its_name() {
    let cluster = LocalCluster::start(1).await;
    let topic = cluster.create_topic("moods", 1, &[]).await;
    let failed = cluster.create_topic("failed", 1, &[]).await;
    let client = cluster.client().await;
    let records = |values: &[&str]| -> Vec<_> {
        let record = |value: &&str| ("k".to_owned(), (*value).to_owned());
        values.iter().map(record).collect()
    };
    produce(&client, &topic, &records(&["fine", "fail", "fine"])).await;
    let policy = || format!("dead_letter:{failed}").parse().unwrap();
    let options = || ConsumerOptions {
        end: EndOffset::Never,
        ..to_the_end(vec![module("moody").on_error(policy())])
    };
    let mut consumer = client.consumer(&topic, options()).await.unwrap();
    // In one batch or several, as they were sent.
    let mut seen = 0;
    while seen < 2 {
        seen += next(&mut consumer).await.unwrap().len();
    }

    client.admin().delete_topic(&failed).await.unwrap();
    produce(&client, &topic, &records(&["fail", "good"])).await;

    let error = loop {
        match consumer.next_batch().await {
            Ok(batch) => assert!(batch.is_some(), "it ends with an error"),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("`failed`"), "{error}");
    // Whoever creates it again goes on from where the consumer stands.
    cluster.create_topic("failed", 1, &[]).await;
    let next_offset = consumer.checkpoint(PartitionIndex(0)).unwrap().offset;
    let mut again = options();
    again.start = StartOffset::Offset(next_offset);
    let mut consumer = client.consumer(&topic, again).await.unwrap();
    let seen = next(&mut consumer).await.unwrap();
    assert_eq!(seen.last().unwrap(), &(4, "good".to_owned()));
    assert_eq!(values(&client, "failed").await, ["fail"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_dead_letters_have_nowhere_to_go_nothing_moves_and_then_nothing_is_missing() {
    let mut cluster = LocalCluster::start(2).await;
    let topic = cluster.create_topic("moods", 1, &[]).await;
    let client = cluster.client().await;
    let leader_of = |topic: TopicName| {
        let admin = client.admin();
        async move {
            let described = admin.describe_topic(&topic).await.unwrap();
            described.partitions[0].status.leader.unwrap().0
        }
    };
    let ours = leader_of(topic.clone()).await;
    // A topic that the other SPU leads.
    let mut failed = None;
    for number in 0..10 {
        let name = cluster
            .create_topic(&format!("failed-{number}"), 1, &[])
            .await;
        if leader_of(name.clone()).await != ours {
            failed = Some(name);
            break;
        }
    }
    let failed = failed.expect("topics are spread over both SPUs");
    let mood = |number: usize| {
        let value = if number.is_multiple_of(10) {
            "fail"
        } else {
            "fine"
        };
        ("k".to_owned(), value.to_owned())
    };
    let records: Vec<_> = (0..500).map(mood).collect();
    produce(&client, &topic, &records).await;
    let policy = format!("dead_letter:{failed}").parse().unwrap();
    let mut options = to_the_end(vec![module("moody").on_error(policy)]);
    options.end = EndOffset::Offset(thalweg_types::Offset(500));

    let theirs = 1 - ours;
    cluster.take_spu(theirs).kill();
    let waiting = WaitingConsumer::start(&cluster, &failed);
    let mut consumer = client.consumer(&topic, options).await.unwrap();
    let early = tokio::time::timeout(std::time::Duration::from_secs(3), next(&mut consumer)).await;
    assert!(early.is_err(), "nothing moves, yet there came {early:?}");
    let (waiting, warning) = waiting.warning().await;
    assert!(warning.contains("nothing comes for now"), "{warning}");
    assert!(warning.contains(&format!("topic `{failed}`")), "{warning}");
    cluster.start_spu(theirs);
    assert_eq!(waiting.first_value().await, "fine");
    let mut seen = Vec::new();
    while let Some(records) = next(&mut consumer).await {
        seen.extend(records.into_iter().map(|(offset, _)| offset));
    }

    let fine: Vec<_> = (0..500).filter(|number| number % 10 != 0).collect();
    assert_eq!(seen, fine);
    let letters = eventually("the dead letters can be read", || async {
        let letters = values(&client, failed.as_str()).await;
        (letters.len() >= 50).then_some(letters)
    })
    .await;
    // At least once: what ran again was written again.
    assert!(letters.iter().all(|letter| letter == "fail"), "{letters:?}");
}
