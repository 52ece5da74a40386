//! `spu drain` and `spu undrain`

use serde::Serialize;
use thalweg_client::SpuDrain;
use thalweg_types::SpuId;

use super::leaving::{check_leaves, until_empty};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render};

/// Have an SPU give all that it holds to others: leaderships at once, then replicas.
///
/// Returns when it holds nothing; interrupted, the draining goes on, and `spu list` shows it. The SPU
/// gets nothing new until `spu undrain`, also after a restart.
#[derive(Debug, clap::Args)]
pub(crate) struct DrainArguments {
    /// The SPU's number.
    id: SpuId,

    /// Return once the draining has begun.
    #[arg(long)]
    no_wait: bool,

    #[command(flatten)]
    output: OutputArguments,
}

/// Let an SPU be given partitions again.
///
/// What has left it stays where it is, and moves that are under way end; `cluster rebalance` brings
/// partitions back.
#[derive(Debug, clap::Args)]
pub(crate) struct UndrainArguments {
    /// The SPU's number.
    id: SpuId,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct Drained {
    id: SpuId,
    draining: bool,
    partitions: usize,
}

impl Render for Drained {
    fn render(&self) -> String {
        let Self { id, partitions, .. } = self;
        match (self.draining, partitions) {
            (false, _) => format!("SPU {id} takes partitions again"),
            (true, 0) => format!("SPU {id} is drained: it holds nothing"),
            (true, _) => format!("SPU {id} is draining: it holds {partitions} partitions"),
        }
    }
}

impl From<SpuDrain> for Drained {
    fn from(drain: SpuDrain) -> Self {
        Self {
            id: drain.spu.id,
            draining: drain.spu.spec.draining,
            partitions: drain.held.len(),
        }
    }
}

pub(crate) async fn drain(arguments: &DrainArguments, context: &Context) -> Result<(), CliError> {
    let admin = context.client().await?.admin();
    let begun = admin.drain_spu(arguments.id, true).await?;
    if arguments.no_wait {
        return arguments.output.print(&Drained::from(begun));
    }
    check_leaves(&begun)?;
    until_empty(&admin, arguments.id).await?;
    arguments.output.print(&Drained {
        partitions: 0,
        ..Drained::from(begun)
    })
}

pub(crate) async fn undrain(
    arguments: &UndrainArguments,
    context: &Context,
) -> Result<(), CliError> {
    let admin = context.client().await?.admin();
    let ended = admin.drain_spu(arguments.id, false).await?;
    arguments.output.print(&Drained::from(ended))
}
