//! Creates a topic, waits until it can be used, and deletes it: `admin CLUSTER TOPIC`.

use std::error::Error;
use std::io::Write;

use thalweg_client::resource::{PartitionState, Resource};
use thalweg_client::{Client, ClientOptions, NewTopic, WatchEvent};
use thalweg_types::TopicName;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let cluster = arguments.next().ok_or("give the cluster's address")?;
    let name: TopicName = arguments.next().ok_or("give a topic")?.parse()?;

    let client = Client::connect(ClientOptions::new(cluster)).await?;
    let admin = client.admin();
    let mut watch = admin.watch().await?;

    let mut topic = NewTopic::new(name.clone(), 1);
    topic.config.set("retention.ms", "1h")?;
    admin.create_topic(topic).await?;
    while let Some(event) = watch.next().await? {
        if let WatchEvent::Upserted(Resource::Partition(partition)) = event
            && partition.topic == name
            && partition.status.state() == PartitionState::Online
        {
            writeln!(std::io::stdout(), "led by {:?}", partition.status.leader)?;
            break;
        }
    }
    admin.delete_topic(&name).await?;
    Ok(())
}
