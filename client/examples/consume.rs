//! Counts what a topic holds: `consume CLUSTER TOPIC`.

use std::error::Error;
use std::io::Write;

use thalweg_client::{Client, ClientOptions, ConsumerOptions, EndOffset, StartOffset};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let cluster = arguments.next().ok_or("give the cluster's address")?;
    let topic = arguments.next().ok_or("give a topic")?.parse()?;

    let client = Client::connect(ClientOptions::new(cluster)).await?;
    let options = ConsumerOptions {
        start: StartOffset::Beginning,
        end: EndOffset::LogEnd,
        ..ConsumerOptions::default()
    };
    let mut consumer = client.consumer(&topic, options).await?;

    let (mut records, mut value_bytes) = (0, 0);
    while let Some(batch) = consumer.next_batch().await? {
        for record in batch.records() {
            records += 1;
            value_bytes += record.value.map_or(0, <[u8]>::len);
        }
    }
    writeln!(std::io::stdout(), "{records} records, {value_bytes} bytes")?;
    Ok(())
}
