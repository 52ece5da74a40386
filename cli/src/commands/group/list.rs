//! `group list`

use serde::Serialize;
use thalweg_client::GroupListing;

use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render, Table};

/// List consumer groups.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct GroupList(Vec<GroupRow>);

#[derive(Debug, Serialize)]
struct GroupRow {
    group: String,
    kind: String,
    state: String,
}

impl From<GroupListing> for GroupRow {
    fn from(listing: GroupListing) -> Self {
        Self {
            group: listing.id,
            kind: listing.kind,
            state: listing.state,
        }
    }
}

impl Render for GroupList {
    fn render(&self) -> String {
        let mut table = Table::new(["GROUP", "TYPE", "STATE"]);
        for row in &self.0 {
            table.row([row.group.clone(), row.kind.clone(), row.state.clone()]);
        }
        table.text()
    }
}

pub(crate) async fn run(arguments: &ListArguments, context: &Context) -> Result<(), CliError> {
    let groups = context.client().await?.admin().list_groups().await?;
    let rows = groups.into_iter().map(GroupRow::from);
    arguments.output.print(&GroupList(rows.collect()))
}
