//! What may be registered, deleted and pointed to. Pure.

use std::fmt;

use thalweg_types::resource::{
    ModuleRevision, SmartModuleKind, SmartModuleSpec, Topic, Transform, UnknownModule,
};
use thalweg_types::{ChainSpec, ModuleRef, ModuleVersion, ResourceName, StepSpec, TopicName};

/// The most versions under one name: SPUs hold all of them.
const VERSIONS_MAX: usize = 200;
/// The version of what is registered first without one.
const FIRST_VERSION: (u64, u64, u64) = (0, 1, 0);

/// Why the registry refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(
        "SmartModule `{name}` has a version {version} with other bytes, and versions never change: raise the version (the next is {next})"
    )]
    VersionTaken {
        name: ResourceName,
        version: ModuleVersion,
        next: ModuleVersion,
    },
    #[error(
        "SmartModule `{0}` has {VERSIONS_MAX} versions, which is the most: delete some that nobody uses"
    )]
    TooManyVersions(ResourceName),
    #[error("SmartModule `{module}` is used by {}; take it out of there first", users(.uses))]
    InUse { module: String, uses: Vec<Use> },
    #[error(
        "version {version} is what `{name}` stands for; point the name to another first: `thalweg smartmodule rollback {name}@VERSION`"
    )]
    IsCurrent {
        name: ResourceName,
        version: ModuleVersion,
    },
    #[error(
        "SmartModule `{name}` has no version from before {current}; say which one: `thalweg smartmodule rollback {name}@VERSION`"
    )]
    NothingBefore {
        name: ResourceName,
        current: ModuleVersion,
    },
    #[error(
        "version {version} of `{name}` {misplaced}, and {user} uses `{name}` without a version; pin the version there first"
    )]
    NotForUser {
        name: ResourceName,
        version: ModuleVersion,
        user: User,
        misplaced: Misplaced,
    },
    #[error(transparent)]
    Unknown(#[from] UnknownModule),
}

/// Why a SmartModule can't be a step of a topic's or a transform's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misplaced {
    #[error(
        "is an aggregate, which must be the last step of a topic's chain: the log keeps what it comes to"
    )]
    AggregateNotLast,
    #[error("is an aggregate, and what the name stood for was none")]
    NewAggregateInTransform,
    #[error("is no aggregate, and the step says what one accumulates")]
    NoAggregate,
    #[error("does not look back: it has no function with #[smartmodule(look_back)]")]
    LooksNotBack,
}

/// Whether `revision` may be this step of a topic's chain.
pub(crate) fn check_place(
    step: &StepSpec,
    revision: &ModuleRevision,
    is_last: bool,
) -> Result<(), Misplaced> {
    let is_aggregate = revision.kind == SmartModuleKind::Aggregate;
    if is_aggregate && !is_last {
        return Err(Misplaced::AggregateNotLast);
    }
    if step.aggregate.is_some() && !is_aggregate {
        return Err(Misplaced::NoAggregate);
    }
    if step.look_back.is_some() && !revision.looks_back {
        return Err(Misplaced::LooksNotBack);
    }
    Ok(())
}

/// Whether `revision` may be this step of a transform's chain, of itself.
pub(crate) fn check_place_in_transform(
    step: &StepSpec,
    revision: &ModuleRevision,
) -> Result<(), Misplaced> {
    if step.aggregate.is_some() && revision.kind != SmartModuleKind::Aggregate {
        return Err(Misplaced::NoAggregate);
    }
    Ok(())
}

/// All whose chains may name SmartModules.
#[derive(Debug, Clone, Default)]
pub(crate) struct Users {
    pub(crate) topics: Vec<Topic>,
    pub(crate) transforms: Vec<Transform>,
}

impl Users {
    fn chains(&self) -> impl Iterator<Item = (User, &ChainSpec)> {
        let topics = self.topics.iter().map(|topic| {
            let user = User::Topic(topic.name.clone());
            (user, &topic.spec.produce_chain)
        });
        let transforms = self.transforms.iter().flat_map(|transform| {
            let user = || User::Transform(transform.name.clone());
            let backfill = transform.spec.backfill.as_ref();
            let backfill = backfill.map(|backfill| &backfill.chain);
            let chains = transform.spec.chains().chain(backfill);
            chains.map(move |chain| (user(), chain))
        });
        topics.chain(transforms)
    }
}

/// Whose chain names a SmartModule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum User {
    Topic(TopicName),
    Transform(ResourceName),
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic `{name}`"),
            Self::Transform(name) => write!(f, "transform `{name}`"),
        }
    }
}

/// A step that names a SmartModule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) user: User,
    pub(crate) uses: ModuleRef,
}

fn users(uses: &[Use]) -> String {
    let texts: Vec<_> = uses
        .iter()
        .map(|one| format!("{} (as `{}`)", one.user, one.uses))
        .collect();
    texts.join(", ")
}

/// What registering bytes comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Registering {
    /// They are there, as this version.
    Exists(ModuleVersion),
    /// They become this version.
    Adds(ModuleVersion),
}

/// What becomes of bytes with this hash and kind under `name`.
pub(crate) fn register(
    name: &ResourceName,
    existing: Option<&SmartModuleSpec>,
    version: Option<ModuleVersion>,
    sha256: &str,
) -> Result<Registering, Refusal> {
    let Some(spec) = existing else {
        let (major, minor, patch) = FIRST_VERSION;
        let first = || ModuleVersion::new(major, minor, patch);
        return Ok(Registering::Adds(version.unwrap_or_else(first)));
    };
    let version = match version {
        Some(version) => version,
        // Registering again what the name stands for makes no new version of it.
        None => match spec.revision(&spec.current) {
            Some(current) if current.sha256 == sha256 => {
                return Ok(Registering::Exists(spec.current.clone()));
            }
            _ => next_version(spec),
        },
    };
    match spec.revision(&version) {
        Some(taken) if taken.sha256 == sha256 => Ok(Registering::Exists(version)),
        Some(_) => Err(Refusal::VersionTaken {
            name: name.clone(),
            version,
            next: next_version(spec),
        }),
        None if spec.revisions.len() >= VERSIONS_MAX => Err(Refusal::TooManyVersions(name.clone())),
        None => Ok(Registering::Adds(version)),
    }
}

/// One patch after the newest.
fn next_version(spec: &SmartModuleSpec) -> ModuleVersion {
    let newest = spec.revisions.iter().map(|one| &one.version).max();
    newest.unwrap_or(&spec.current).next_patch()
}

/// The spec with one more version. The name stands for it when it is higher than what it stood
/// for.
pub(crate) fn with_revision(
    name: &ResourceName,
    existing: Option<SmartModuleSpec>,
    revision: ModuleRevision,
    users: &Users,
) -> Result<SmartModuleSpec, Refusal> {
    let Some(mut spec) = existing else {
        return Ok(SmartModuleSpec {
            current: revision.version.clone(),
            revisions: vec![revision],
            leaving: false,
        });
    };
    let version = revision.version.clone();
    spec.revisions.push(revision);
    if version > spec.current {
        point_to(name, &mut spec, version, users)?;
    }
    Ok(spec)
}

/// The steps that name `name`.
pub(crate) fn uses(name: &ResourceName, users: &Users) -> Vec<Use> {
    let uses_of = |(user, chain): (User, &ChainSpec)| {
        let steps = chain.steps.iter();
        let named: Vec<_> = steps
            .filter(|step| step.uses.name == *name)
            .map(|step| Use {
                user: user.clone(),
                uses: step.uses.clone(),
            })
            .collect();
        named
    };
    users.chains().flat_map(uses_of).collect()
}

/// The spec without one version; `None` when nothing is left.
pub(crate) fn without(
    name: &ResourceName,
    spec: &SmartModuleSpec,
    version: &ModuleVersion,
    users: &Users,
) -> Result<Option<SmartModuleSpec>, Refusal> {
    let pinned = ModuleRef {
        name: name.clone(),
        version: Some(version.clone()),
    };
    spec.resolve(&pinned)?;
    let is_current = *version == spec.current;
    let mut uses = uses(name, users);
    uses.retain(|one| match &one.uses.version {
        Some(used) => used == version,
        None => is_current,
    });
    if !uses.is_empty() {
        return Err(Refusal::InUse {
            module: pinned.to_string(),
            uses,
        });
    }
    if is_current && spec.revisions.len() > 1 {
        return Err(Refusal::IsCurrent {
            name: name.clone(),
            version: version.clone(),
        });
    }
    let mut left = spec.clone();
    left.revisions.retain(|one| one.version != *version);
    Ok(Some(left).filter(|left| !left.revisions.is_empty()))
}

/// Whether all of it may go.
pub(crate) fn check_unused(name: &ResourceName, users: &Users) -> Result<(), Refusal> {
    let uses = uses(name, users);
    if uses.is_empty() {
        return Ok(());
    }
    Err(Refusal::InUse {
        module: name.to_string(),
        uses,
    })
}

/// The spec with the name pointed to `version`, or to the one registered before the current one.
pub(crate) fn rolled_back(
    name: &ResourceName,
    mut spec: SmartModuleSpec,
    version: Option<ModuleVersion>,
    users: &Users,
) -> Result<SmartModuleSpec, Refusal> {
    let version = match version {
        Some(version) => version,
        None => before_current(name, &spec)?,
    };
    point_to(name, &mut spec, version, users)?;
    Ok(spec)
}

fn before_current(name: &ResourceName, spec: &SmartModuleSpec) -> Result<ModuleVersion, Refusal> {
    let before = spec
        .revisions
        .iter()
        .take_while(|one| one.version != spec.current)
        .last();
    before
        .map(|one| one.version.clone())
        .ok_or_else(|| Refusal::NothingBefore {
            name: name.clone(),
            current: spec.current.clone(),
        })
}

fn point_to(
    name: &ResourceName,
    spec: &mut SmartModuleSpec,
    version: ModuleVersion,
    users: &Users,
) -> Result<(), Refusal> {
    let pinned = ModuleRef {
        name: name.clone(),
        version: Some(version.clone()),
    };
    let revision = spec.resolve(&pinned)?;
    let is_aggregate = revision.kind == SmartModuleKind::Aggregate;
    let was_aggregate = spec
        .revision(&spec.current)
        .is_some_and(|current| current.kind == SmartModuleKind::Aggregate);
    for (user, chain) in users.chains() {
        for (index, step) in chain.steps.iter().enumerate() {
            let floats = step.uses.name == *name && step.uses.version.is_none();
            if !floats {
                continue;
            }
            let fits = match user {
                User::Topic(_) => check_place(step, revision, index + 1 == chain.steps.len()),
                // A chain that has one aggregate, or several inputs, has no room for another.
                User::Transform(_) if is_aggregate && !was_aggregate => {
                    Err(Misplaced::NewAggregateInTransform)
                }
                User::Transform(_) => check_place_in_transform(step, revision),
            };
            if let Err(misplaced) = fits {
                return Err(Refusal::NotForUser {
                    name: name.clone(),
                    version,
                    user,
                    misplaced,
                });
            }
        }
    }
    spec.current = version;
    Ok(())
}

#[cfg(test)]
mod tests;
