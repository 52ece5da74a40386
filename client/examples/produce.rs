//! Sends lines from standard input to a topic: `produce CLUSTER TOPIC < file`.

use std::error::Error;
use std::io::BufRead;

use thalweg_client::{Client, ClientOptions, Codec, ProducerOptions, ProducerRecord};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let cluster = arguments.next().ok_or("give the cluster's address")?;
    let topic = arguments.next().ok_or("give a topic")?.parse()?;

    let client = Client::connect(ClientOptions::new(cluster)).await?;
    let options = ProducerOptions {
        compression: Codec::Lz4,
        ..ProducerOptions::default()
    };
    let producer = client.producer(&topic, options).await?;

    for line in std::io::stdin().lock().lines() {
        // Waits only while the producer's memory is full; `close` tells of failures.
        producer
            .enqueue(ProducerRecord::new(line?.as_bytes()))
            .await?;
    }
    producer.close().await?;
    Ok(())
}
