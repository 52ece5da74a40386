//! Reads a topic through a SmartModule: `smartmodule CLUSTER TOPIC FILE.wasm [KEY=VALUE...]`.

use std::error::Error;
use std::io::Write;

use futures::StreamExt;
use thalweg_client::{
    Client, ClientOptions, ConsumerOptions, EndOffset, SmartModuleInvocation, StartOffset,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let cluster = arguments.next().ok_or("give the cluster's address")?;
    let topic = arguments.next().ok_or("give a topic")?.parse()?;
    let path = arguments.next().ok_or("give a wasm file")?;

    let mut module = SmartModuleInvocation::wasm(path.as_str(), std::fs::read(&path)?);
    for parameter in arguments {
        let (key, value) = parameter.split_once('=').ok_or("write KEY=VALUE")?;
        module = module.param(key, value);
    }

    let client = Client::connect(ClientOptions::new(cluster)).await?;
    let options = ConsumerOptions {
        start: StartOffset::Beginning,
        // Comes to its end also when the module passes nothing.
        end: EndOffset::LogEnd,
        smartmodules: vec![module],
        ..ConsumerOptions::default()
    };
    let mut records = client.consumer(&topic, options).await?;
    while let Some(record) = records.next().await {
        let value = record?.value.unwrap_or_default();
        writeln!(std::io::stdout(), "{}", String::from_utf8_lossy(&value))?;
    }
    Ok(())
}
