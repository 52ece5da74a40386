//! Registering bytes: what `create` and `load`, and a transform's deployment, have in common.

use anyhow::anyhow;
use bytes::Bytes;
use serde::Serialize;
use thalweg_client::NewSmartModule;
use thalweg_smartmodule_inspect::{LoadError, MODULE_BYTES_MAX, check_code, check_sections};
use thalweg_types::{ErrorCode, ModuleVersion};

use super::row::VersionRow;
use crate::context::Context;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::output::Render;

/// What became of it.
#[derive(Debug, Serialize)]
pub(crate) struct Registered {
    name: thalweg_types::ResourceName,
    #[serde(flatten)]
    version: VersionRow,
    created_now: bool,
    #[serde(skip)]
    dry_run: bool,
}

impl Registered {
    /// The version that the bytes have.
    pub(crate) fn version(&self) -> &ModuleVersion {
        &self.version.version
    }
}

impl Render for Registered {
    fn render(&self) -> String {
        let Self { name, version, .. } = self;
        let what = match (self.created_now, self.dry_run) {
            (true, _) => "registered",
            (false, true) => "could be registered",
            (false, false) => "is registered already, with the same bytes",
        };
        let kind = version.kind;
        let mut text = format!("SmartModule `{name}@{}` ({kind}) {what}", version.version);
        if !version.current {
            text.push_str("; the name stands for another version");
        }
        text
    }
}

/// Checks the bytes, then has the SC register them.
pub(crate) async fn register(
    module: NewSmartModule,
    context: &Context,
) -> Result<Registered, CliError> {
    // Here first: what is no SmartModule need not travel, and ends as everywhere else.
    check(&module.wasm).map_err(|error| {
        CliError::new(ExitCode::SmartModule, error).context("the module is refused".to_owned())
    })?;
    let dry_run = module.validate_only;
    let name = module.name.clone();
    let admin = context.client().await?.admin();
    let registered = admin.create_smart_module(module).await.map_err(|error| {
        let is_taken = error.code() == ErrorCode::AlreadyExists;
        let error = CliError::from(error);
        if is_taken {
            return error.next_step("raise the version, in Cargo.toml or with --version");
        }
        error
    })?;
    let spec = registered.module.spec;
    let revision = spec
        .revision(&registered.version)
        .ok_or_else(|| anyhow!("the SC did not say what it registered"))?;
    Ok(Registered {
        name,
        version: VersionRow::of(revision.clone(), &spec.current),
        created_now: registered.created,
        dry_run,
    })
}

fn check(wasm: &Bytes) -> Result<(), LoadError> {
    if wasm.len() > MODULE_BYTES_MAX {
        return Err(LoadError::TooLarge {
            module_bytes: wasm.len(),
            limit_bytes: MODULE_BYTES_MAX,
        });
    }
    check_sections(wasm)?;
    check_code(wasm)
}
