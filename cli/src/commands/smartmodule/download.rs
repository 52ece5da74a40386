//! `smartmodule download`

use std::path::PathBuf;

use anyhow::Context as _;
use serde::Serialize;
use thalweg_types::{ModuleRef, ModuleVersion, ResourceName, format_bytes};

use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render};

/// Write the bytes of a registered SmartModule to a file, checked against their hash.
#[derive(Debug, clap::Args)]
pub(crate) struct DownloadArguments {
    /// Name of the SmartModule, or NAME@VERSION.
    #[arg(value_name = "NAME[@VERSION]")]
    module: ModuleRef,

    /// The file; NAME-VERSION.wasm in this folder without it.
    #[arg(long, short, value_name = "PATH")]
    file: Option<PathBuf>,

    /// Replace a file that is there.
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct Downloaded {
    name: ResourceName,
    version: ModuleVersion,
    sha256: String,
    size_bytes: u64,
    file: PathBuf,
}

impl Render for Downloaded {
    fn render(&self) -> String {
        format!(
            "{}: `{}@{}`, {}, SHA-256 {}",
            self.file.display(),
            self.name,
            self.version,
            format_bytes(self.size_bytes),
            self.sha256
        )
    }
}

pub(super) async fn run(arguments: DownloadArguments, context: &Context) -> Result<(), CliError> {
    let admin = context.client().await?.admin();
    let (revision, wasm) = admin.download_smart_module(&arguments.module).await?;
    let name = arguments.module.name;
    let file = arguments
        .file
        .unwrap_or_else(|| PathBuf::from(format!("{name}-{}.wasm", revision.version)));
    if file.exists() && !arguments.force {
        let error = anyhow::anyhow!("{} is there already", file.display());
        return Err(CliError::usage(error).next_step("add --force, or another --file"));
    }
    std::fs::write(&file, &wasm).with_context(|| format!("failed to write {}", file.display()))?;
    arguments.output.print(&Downloaded {
        name,
        version: revision.version,
        sha256: revision.sha256,
        size_bytes: wasm.len() as u64,
        file,
    })
}
