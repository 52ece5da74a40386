//! A user of a hostile module: opens a stream with it, and is told what is wrong.

use std::time::Duration;

use anyhow::Result;
use thalweg_client::{
    Client, ConsumerOptions, EndOffset, ProducerOptions, ProducerRecord, SmartModuleInvocation,
    StartOffset,
};
use thalweg_types::TopicName;

/// Puts three records into `topic`, in one batch, for the modules to be called with.
///
/// # Errors
/// When they are refused.
pub async fn prepare_prey(client: &Client, topic: &TopicName) -> Result<()> {
    let options = ProducerOptions {
        // Some of the modules answer otherwise to a batch of one record.
        linger: Duration::from_secs(10),
        ..ProducerOptions::default()
    };
    let producer = client.producer(topic, options).await?;
    for value in [&b"one"[..], b"two", b"three"] {
        producer.enqueue(ProducerRecord::new(value)).await?;
    }
    Ok(producer.flush().await?)
}

/// Opens a stream of `topic` through the module, and reads until its first batch; what its user is
/// told.
pub async fn open_once(client: &Client, topic: &TopicName, name: &str, wasm: &[u8]) -> String {
    let options = ConsumerOptions {
        start: StartOffset::Beginning,
        end: EndOffset::LogEnd,
        smartmodules: vec![SmartModuleInvocation::wasm(name, wasm.to_vec())],
        ..ConsumerOptions::default()
    };
    let told = match client.consumer(topic, options).await {
        Ok(mut consumer) => consumer
            .next_batch()
            .await
            .err()
            .map(|error| describe(&error)),
        Err(error) => Some(describe(&error)),
    };
    told.unwrap_or_else(|| "nothing".to_owned())
}

fn describe(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<_> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}
