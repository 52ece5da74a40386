//! What holds for a step of any chain that the cluster keeps, a topic's or a transform's. Pure.

use thalweg_types::resource::{ModuleRevision, Topic, UnknownModule};
use thalweg_types::{StepSpec, TopicName};

use crate::state::Observed;

/// The version that a step names, or that its name stands for.
pub(crate) fn registered<'a>(
    step: &StepSpec,
    observed: &'a Observed,
) -> Result<&'a ModuleRevision, String> {
    observed
        .smart_modules
        .get(&step.uses.name)
        .ok_or_else(|| UnknownModule::Name(step.uses.name.clone()))
        .and_then(|module| module.spec.resolve(&step.uses))
        .map_err(|unknown| unknown.to_string())
}

/// Of a module that says which parameters it takes. What their values may be is its own matter.
pub(crate) fn check_params(step: &StepSpec, revision: &ModuleRevision) -> Result<(), String> {
    let missing = revision
        .params
        .iter()
        .find(|param| param.required && !step.with.contains_key(&param.name));
    match missing {
        Some(param) => Err(format!(
            "`{}` needs the parameter `{}`",
            step.uses, param.name
        )),
        None => Ok(()),
    }
}

/// The topic that dead letters go to.
pub(crate) fn dead_letter_topic<'a>(
    letters: &TopicName,
    observed: &'a Observed,
) -> Result<&'a Topic, String> {
    if letters.is_internal() {
        return Err(format!("`{letters}` is one of the cluster's own topics"));
    }
    observed.topics.get(letters).ok_or_else(|| {
        format!(
            "the dead-letter topic `{letters}` does not exist: create it with `thalweg topic create {letters}`"
        )
    })
}
