//! `smartmodule list`

use serde::Serialize;
use thalweg_types::format_bytes;

use super::row::ModuleRow;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render, Table};

/// List the SmartModules that the cluster keeps, with the version that each name stands for.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct ModuleList(Vec<ModuleRow>);

impl Render for ModuleList {
    fn render(&self) -> String {
        let mut table = Table::new([
            "NAME",
            "VERSION",
            "KIND",
            "SIZE",
            "VERSIONS",
            "CREATED",
            "DESCRIPTION",
        ]);
        for module in &self.0 {
            table.row([
                module.name.to_string(),
                module.version.to_string(),
                module.kind.to_string(),
                format_bytes(module.size_bytes),
                module.versions.to_string(),
                module.created.clone(),
                module.description.clone(),
            ]);
        }
        table.text()
    }
}

pub(super) async fn run(arguments: &ListArguments, context: &Context) -> Result<(), CliError> {
    let admin = context.client().await?.admin();
    let modules = admin.list_smart_modules().await?;
    let rows = modules.into_iter().filter_map(ModuleRow::of).collect();
    arguments.output.print(&ModuleList(rows))
}

#[cfg(test)]
mod tests {
    use thalweg_client::resource::SmartModuleKind;

    use super::*;

    fn late() -> ModuleRow {
        ModuleRow {
            name: "late".parse().unwrap(),
            version: "1.2.0".parse().unwrap(),
            kind: SmartModuleKind::FilterMap,
            size_bytes: 20_480,
            versions: 3,
            created: "2026-01-01T00:00:00.000Z".to_owned(),
            description: "Late flights.".to_owned(),
        }
    }

    #[test]
    fn people_get_a_row_for_each_name() {
        assert_eq!(
            ModuleList(vec![late()]).render(),
            "NAME  VERSION  KIND        SIZE    VERSIONS  CREATED                   DESCRIPTION\n\
             late  1.2.0    filter_map  20 KiB  3         2026-01-01T00:00:00.000Z  Late flights."
        );
    }

    #[test]
    fn programs_get_a_list() {
        assert_eq!(
            serde_json::to_string(&ModuleList(vec![late()])).unwrap(),
            r#"[{"name":"late","version":"1.2.0","kind":"filter-map","size_bytes":20480,"versions":3,"created":"2026-01-01T00:00:00.000Z","description":"Late flights."}]"#
        );
    }
}
