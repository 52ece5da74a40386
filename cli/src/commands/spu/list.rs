//! `spu list`

use serde::Serialize;
use thalweg_client::resource::{Spu, SpuState};
use thalweg_types::SpuId;

use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render, Table};

/// List the SPUs.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct SpuList(Vec<SpuRow>);

#[derive(Debug, Serialize)]
struct SpuRow {
    id: SpuId,
    state: SpuState,
    /// Whether it gives all that it holds to others.
    draining: bool,
    address: String,
    rack: Option<String>,
    version: String,
}

impl From<Spu> for SpuRow {
    fn from(spu: Spu) -> Self {
        Self {
            id: spu.id,
            state: spu.status.state,
            draining: spu.spec.draining,
            address: spu.status.data_address,
            rack: spu.spec.rack,
            version: spu.status.software_version,
        }
    }
}

impl Render for SpuList {
    fn render(&self) -> String {
        let mut table = Table::new(["ID", "STATE", "ADDRESS", "RACK", "VERSION"]);
        for spu in &self.0 {
            let state = match spu.state {
                SpuState::Online if spu.draining => "draining",
                SpuState::Online => "online",
                SpuState::Stopping => "stopping",
                SpuState::Offline => "offline",
            };
            table.row([
                spu.id.to_string(),
                state.to_owned(),
                spu.address.clone(),
                spu.rack.clone().unwrap_or_else(|| "-".to_owned()),
                spu.version.clone(),
            ]);
        }
        table.text()
    }
}

pub(crate) async fn run(arguments: &ListArguments, context: &Context) -> Result<(), CliError> {
    let mut spus = context.client().await?.admin().list_spus().await?;
    spus.sort_by_key(|spu| spu.id);
    arguments
        .output
        .print(&SpuList(spus.into_iter().map(SpuRow::from).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_get_a_row_for_each_spu() {
        let row = |id, state, rack: Option<&str>| SpuRow {
            id: SpuId(id),
            state,
            draining: rack.is_none(),
            address: format!("10.0.0.{id}:9005"),
            rack: rack.map(str::to_owned),
            version: "0.1.0".to_owned(),
        };
        let list = SpuList(vec![
            row(0, SpuState::Online, None),
            row(1, SpuState::Offline, Some("b")),
        ]);

        assert_eq!(
            list.render(),
            "ID  STATE     ADDRESS        RACK  VERSION\n\
             0   draining  10.0.0.0:9005  -     0.1.0\n\
             1   offline   10.0.0.1:9005  b     0.1.0"
        );
    }
}
