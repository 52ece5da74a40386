//! What SmartModules did, as those who watch an SPU read it, in every place that they run in.

use thalweg_wire::StreamPurpose;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::dead_letters::{TO_FAILED, announce};
use crate::failed_records::{opened, produced_through, with_policy};
use crate::setup::{TestSpu, batch, fetch, fetch_request, produce};
use crate::streams::through;
use crate::topic_chains::{attach, register};

/// The counters of SmartModules, as they are now.
struct Counters(String);

impl Counters {
    async fn of(spu: &TestSpu) -> Self {
        let address = spu.spu.metrics_address().unwrap();
        let mut connection = TcpStream::connect(address).await.unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: spu\r\nConnection: close\r\n\r\n";
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        connection.read_to_string(&mut text).await.unwrap();
        Self(text)
    }

    /// The sum of one over all modules at a place.
    fn at(&self, place: &str, counter: &str) -> f64 {
        let start = format!("thalweg_smartmodule_{counter}_total{{");
        let label = format!("place=\"{place}\"");
        let lines = self.0.lines();
        let values = lines
            .filter(|line| line.starts_with(&start) && line.contains(&label))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
        values.sum()
    }

    fn records(&self, place: &str) -> (f64, f64) {
        (self.at(place, "records_in"), self.at(place, "records_out"))
    }
}

#[tokio::test]
async fn what_modules_do_on_streams_and_topics_is_told_by_http() {
    let spu = TestSpu::start_with(&["--metrics-listen=127.0.0.1:0"]).await;
    for topic in ["t", "failed"] {
        spu.create_topic(topic, 1, &[("durability", "memory")])
            .await;
    }
    announce(&spu).await;
    let mut client = spu.client().await;
    assert_eq!(Counters::of(&spu).await.records("consume"), (0.0, 0.0));

    // In front of the log, by a producer.
    let mut keeping = with_policy(StreamPurpose::Produce, "contains", &[], "stop");
    keeping.steps[0]
        .params
        .insert("text".to_owned(), "n".to_owned());
    let stream = opened(&mut client, &keeping).await;
    let request = produced_through(stream, batch(&["fine", "dropped? no", "x"]));
    client.call(&request, 9).await;
    assert_eq!(Counters::of(&spu).await.records("produce"), (3.0, 2.0));

    // Behind it, by consumers.
    produce(&mut client, batch(&["fail", "good"])).await;
    for policy in ["skip", TO_FAILED] {
        let request = with_policy(StreamPurpose::Consume, "moody", &[], policy);
        let stream = opened(&mut client, &request).await;
        let request = through(fetch_request(0), stream).with_min_bytes(200);
        fetch(&mut client, &request.with_max_wait_ms(2000)).await;
    }
    let counters = Counters::of(&spu).await;
    assert_eq!(counters.at("consume", "records_out"), 6.0);
    assert!(counters.at("consume", "records_in") >= 8.0);
    assert!(counters.at("consume", "calls") >= 4.0);
    assert_eq!(counters.at("consume", "skipped"), 1.0);
    assert_eq!(counters.at("consume", "dead_lettered"), 1.0);
    assert_eq!(counters.at("consume", "errors"), 2.0);
    assert!(
        counters
            .0
            .contains("thalweg_smartmodule_time_seconds_total{")
    );

    // In front of the log, for everybody.
    register(&spu, "contains");
    attach(&spu, "contains", &[("text", "needle")], "").await;
    produce(&mut client, batch(&["a needle", "hay", "needles", "hay"])).await;
    let counters = Counters::of(&spu).await;
    assert_eq!(counters.records("topic"), (4.0, 2.0));
    assert_eq!(counters.at("topic", "calls"), 1.0);
}
