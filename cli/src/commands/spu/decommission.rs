//! `spu decommission`

use serde::Serialize;
use thalweg_types::SpuId;

use super::leaving::{check_leaves, until_down, until_empty};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render};

/// Drain an SPU and remove it from the cluster.
///
/// Waits until the SPU holds nothing and its process has been stopped. Refused while something can't
/// leave it: it may hold the only copy.
#[derive(Debug, clap::Args)]
pub(crate) struct DecommissionArguments {
    /// The SPU's number.
    id: SpuId,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct Decommissioned {
    id: SpuId,
}

impl Render for Decommissioned {
    fn render(&self) -> String {
        format!("SPU {} is no longer part of the cluster", self.id)
    }
}

pub(crate) async fn run(
    arguments: &DecommissionArguments,
    context: &Context,
) -> Result<(), CliError> {
    let id = arguments.id;
    let admin = context.client().await?.admin();
    check_leaves(&admin.drain_spu(id, true).await?)?;
    until_empty(&admin, id).await?;
    until_down(&admin, id).await?;
    admin.remove_spu(id).await?;
    arguments.output.print(&Decommissioned { id })
}
