//! The options that name another version of a transform's chain: other modules in the place of those of the same name, other
//! parameters.

use std::path::PathBuf;

use anyhow::anyhow;
use thalweg_types::{ChainSpec, ModuleRef, StepSpec};

use super::deploy::with_registered;
use crate::commands::{KeyValue, parse_key_value};
use crate::context::Context;
use crate::error::CliError;
use crate::transforms::{Transform, Uses};

/// Another version of a chain.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct VersionArguments {
    /// Use this module, or this version of it, in the step that uses the module now, or in the only step; may be
    /// repeated.
    #[arg(long, value_name = "MODULE[@VERSION]")]
    uses: Vec<ModuleRef>,

    /// Register this wasm file under its own name, and use it as --uses does; may be repeated.
    #[arg(long, value_name = "FILE")]
    module: Vec<PathBuf>,

    /// Another value for a parameter of the steps that are named, or of the only step; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_key_value)]
    with: Vec<KeyValue>,
}

/// Another version of a chain, whose modules are registered.
#[derive(Debug, Clone, Default)]
pub(super) struct NewVersion {
    uses: Vec<ModuleRef>,
    with: Vec<KeyValue>,
}

impl VersionArguments {
    /// Whether nothing is said.
    pub(super) fn is_empty(&self) -> bool {
        self.uses.is_empty() && self.module.is_empty() && self.with.is_empty()
    }

    /// Registers what are files.
    ///
    /// # Errors
    /// When a file can't be read, or the cluster refuses its module.
    pub(super) async fn registered(self, context: &Context) -> Result<NewVersion, CliError> {
        let files = self.module.into_iter().map(Uses::File).map(Transform::new);
        let files = with_registered(files.collect(), context).await?;
        let files = files.into_iter().filter_map(|step| match step.uses {
            Uses::Registered(module) => Some(module),
            Uses::File(_) => None,
        });
        Ok(NewVersion {
            uses: self.uses.into_iter().chain(files).collect(),
            with: self.with,
        })
    }
}

impl NewVersion {
    /// The chain with the new version in it; all that is not named stays.
    ///
    /// # Errors
    /// When a module or a parameter is for no step.
    pub(super) fn of(&self, chain: &ChainSpec) -> Result<ChainSpec, CliError> {
        let mut changed = chain.clone();
        let mut named = Vec::new();
        for module in &self.uses {
            let steps = steps_of(chain, module)?;
            for step in &steps {
                changed.steps[*step].uses = module.clone();
            }
            named.extend(steps);
        }
        if named.is_empty() && !self.with.is_empty() {
            if chain.steps.len() != 1 {
                let error = anyhow!("--with is for a step, and the chain has {}", texts(chain));
                return Err(CliError::usage(error).next_step("say which one with --uses"));
            }
            named.push(0);
        }
        for step in named {
            changed.steps[step].with.extend(self.with.iter().cloned());
        }
        Ok(changed)
    }
}

/// The steps that `module` goes to: those that use the module of its name, or the only one.
fn steps_of(chain: &ChainSpec, module: &ModuleRef) -> Result<Vec<usize>, CliError> {
    let uses_it = |(_, step): &(usize, &StepSpec)| step.uses.name == module.name;
    let steps = chain.steps.iter().enumerate().filter(uses_it);
    let steps: Vec<_> = steps.map(|(index, _)| index).collect();
    match (steps.is_empty(), chain.steps.len()) {
        (false, _) => Ok(steps),
        (true, 1) => Ok(vec![0]),
        (true, _) => {
            let error = anyhow!(
                "no step uses `{}`: the chain has {}",
                module.name,
                texts(chain)
            );
            Err(CliError::usage(error).next_step(
                "name one of these, or write another chain with `thalweg transform apply`",
            ))
        }
    }
}

/// ``the steps `a@1.0.0`, `b` ``.
fn texts(chain: &ChainSpec) -> String {
    let steps: Vec<_> = chain
        .steps
        .iter()
        .map(|step| format!("`{}`", step.uses))
        .collect();
    format!("the steps {}", steps.join(", "))
}

#[cfg(test)]
pub(super) mod tests {
    use thalweg_types::OnError;

    use super::*;

    /// A chain of these modules, each of which skips what it fails on.
    pub(in crate::commands::transform) fn chain(modules: &[&str]) -> ChainSpec {
        let steps = modules.iter().map(|module| StepSpec {
            uses: module.parse().unwrap(),
            with: [("minutes".to_owned(), "60".to_owned())].into(),
            look_back: None,
            on_error: OnError::Skip,
            aggregate: None,
        });
        ChainSpec {
            steps: steps.collect(),
        }
    }

    pub(in crate::commands::transform) fn version(uses: &[&str], with: &[&str]) -> NewVersion {
        NewVersion {
            uses: uses.iter().map(|module| module.parse().unwrap()).collect(),
            with: with
                .iter()
                .map(|text| parse_key_value(text).unwrap())
                .collect(),
        }
    }

    #[test]
    fn a_version_takes_the_place_of_its_module_and_keeps_the_rest_of_the_step() {
        let changed = version(&["late@1.3.0"], &["minutes=90", "carrier=UA"])
            .of(&chain(&["mask", "late@1.2.0"]))
            .unwrap();

        assert_eq!(changed.steps[0], chain(&["mask"]).steps[0]);
        let late = &changed.steps[1];
        assert_eq!(late.uses.to_string(), "late@1.3.0");
        assert_eq!(late.on_error, OnError::Skip);
        assert_eq!(late.with["minutes"], "90");
        assert_eq!(late.with["carrier"], "UA");
    }

    #[test]
    fn the_only_step_takes_any_module_and_parameters_alone() {
        let other = version(&["later"], &[]).of(&chain(&["late"])).unwrap();
        assert_eq!(other.steps[0].uses.to_string(), "later");

        let same = version(&[], &["minutes=5"]).of(&chain(&["late"])).unwrap();
        assert_eq!(same.steps[0].uses.to_string(), "late");
        assert_eq!(same.steps[0].with["minutes"], "5");
    }

    #[test]
    fn what_is_for_no_step_is_refused_with_the_steps_that_there_are() {
        let two = chain(&["mask", "late@1.2.0"]);
        for (version, expected) in [
            (
                version(&["other"], &[]),
                "no step uses `other`: the chain has the steps `mask`, `late@1.2.0`",
            ),
            (version(&[], &["minutes=5"]), "--with is for a step"),
        ] {
            let error = version.of(&two).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
