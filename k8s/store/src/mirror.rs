//! What this process knows of the objects. No I/O.
//!
//! It hears of each change up to twice, in the answer to its own write and by the watch, and in any
//! order. An object's version only grows, so what is not newer is old news; and what this process has
//! deleted does not come back by a watch that is behind, because an object's uid is never used twice.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use kube::core::DynamicObject;
use thalweg_metadata::WatchEvent;
use thalweg_types::resource::{
    Resource, ResourceKey, ResourceKind, ResourceVersion, TopicState, TransformState,
};

use crate::convert::{Kept, Reading, Unreadable, kept, read, version_of};
use crate::module_sources::WantedModule;

/// What is known of one object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Known {
    pub(crate) uid: String,
    pub(crate) version: ResourceVersion,
    pub(crate) generation: i64,
    pub(crate) kept: Kept,
    /// Whether its spec names the version that a SmartModule's name stands for.
    pub(crate) pins_version: bool,
    /// Whether a topic has no id yet.
    pub(crate) lacks_id: bool,
    /// Whether somebody wants it gone.
    pub(crate) is_deleting: bool,
    pub(crate) finalizers: Vec<String>,
    pub(crate) row: Option<Resource>,
    /// The version of a SmartModule that is to be registered.
    pub(crate) wants: Option<WantedModule>,
    /// The version that a SmartModule's status says its name stands for.
    told_current: Option<String>,
    chore: Option<Chore>,
}

/// What the SC owes an object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Chore {
    /// Give it what makes it a row.
    Adopt,
    /// Say in its status that its spec was read.
    Acknowledge,
    /// Say in its status why it is no row.
    Refuse {
        reason: &'static str,
        message: String,
    },
}

/// Where an object is.
pub(crate) type Place = (ResourceKind, String);

/// What is known of all objects.
#[derive(Debug, Default)]
pub(crate) struct Mirror {
    known: HashMap<Place, Known>,
    /// Objects that this process has deleted and whose end the watch has not told yet.
    gone: HashSet<(ResourceKind, String)>,
    chores: BTreeSet<Place>,
}

impl Mirror {
    pub(crate) fn known(&self, place: &Place) -> Option<&Known> {
        self.known.get(place)
    }

    /// All rows.
    pub(crate) fn rows(&self) -> BTreeMap<ResourceKey, Resource> {
        let rows = self.known.values().filter_map(|known| known.row.clone());
        rows.map(|row| (row.key(), row)).collect()
    }

    /// Up to `count` chores.
    pub(crate) fn chores(&self, count: usize) -> Vec<(Place, Chore)> {
        let chores = self.chores.iter().take(count);
        chores
            .filter_map(|place| Some((place.clone(), self.known.get(place)?.chore.clone()?)))
            .collect()
    }

    /// The versions of SmartModules that are to be registered.
    pub(crate) fn wanted_modules(&self) -> Vec<WantedModule> {
        let mut wanted: Vec<_> = self
            .known
            .values()
            .filter_map(|known| known.wants.clone())
            .collect();
        wanted.sort_by(|one, other| one.name.cmp(&other.name));
        wanted
    }

    /// Takes an object as it is told; what watchers of rows should hear of it.
    ///
    /// # Errors
    /// When it can't be read. Its row stays as it was.
    pub(crate) fn heard(
        &mut self,
        kind: ResourceKind,
        object: &DynamicObject,
    ) -> Result<Option<WatchEvent>, Unreadable> {
        let uid = object.metadata.uid.clone().unwrap_or_default();
        let name = object.metadata.name.clone().unwrap_or_default();
        let version = version_of(object).unwrap_or_default();
        let place = (kind, name);
        let before = self.known.get(&place);
        let is_old_news = before.is_some_and(|before| before.version >= version);
        if is_old_news || self.gone.contains(&(kind, uid.clone())) {
            return Ok(None);
        }
        let reading = read(kind, object)?;
        let mut known = Known {
            uid,
            version,
            generation: object.metadata.generation.unwrap_or_default(),
            kept: kept(object),
            pins_version: !object.data["spec"]["version"].is_null(),
            lacks_id: object.data["spec"]["id"].is_null(),
            is_deleting: object.metadata.deletion_timestamp.is_some(),
            finalizers: object.metadata.finalizers.clone().unwrap_or_default(),
            row: None,
            wants: None,
            told_current: None,
            chore: None,
        };
        if kind == ResourceKind::SmartModule {
            known.wants = WantedModule::of(object);
            let current = object.data["status"]["current"].as_str();
            known.told_current = current.map(str::to_owned);
        }
        match reading {
            Reading::Row(row) => known.row = Some(row),
            Reading::Unadopted => known.chore = Some(Chore::Adopt),
            Reading::Nothing => {}
            Reading::Refused { reason, message } => {
                known.chore = refusal(&known, reason, message);
            }
        }
        if is_unacknowledged(&known) {
            known.chore = Some(Chore::Acknowledge);
        }
        let event = difference(
            before.and_then(|known| known.row.as_ref()),
            known.row.as_ref(),
        );
        match known.chore {
            Some(_) => self.chores.insert(place.clone()),
            None => self.chores.remove(&place),
        };
        self.known.insert(place, known);
        Ok(event)
    }

    /// Takes the end of an object; what watchers of rows should hear of it.
    pub(crate) fn heard_end(
        &mut self,
        kind: ResourceKind,
        name: &str,
        uid: &str,
    ) -> Option<WatchEvent> {
        self.gone.remove(&(kind, uid.to_owned()));
        let place = (kind, name.to_owned());
        if self.known.get(&place)?.uid != uid {
            return None;
        }
        self.forget(&place)
    }

    /// Takes note that this process has deleted the object there.
    pub(crate) fn deleted(&mut self, place: &Place) -> Option<WatchEvent> {
        let uid = self.known.get(place)?.uid.clone();
        self.gone.insert((place.0, uid));
        self.forget(place)
    }

    /// Takes all objects of a kind as they were at `version`; what watchers of rows should hear.
    /// Those that can't be read come back; their rows stay as they were.
    pub(crate) fn listed(
        &mut self,
        kind: ResourceKind,
        objects: &[DynamicObject],
        version: ResourceVersion,
    ) -> (Vec<WatchEvent>, Vec<Unreadable>) {
        let mut events = Vec::new();
        let mut unreadable = Vec::new();
        let mut there = HashSet::new();
        let mut uids = HashSet::new();
        for object in objects {
            there.insert(object.metadata.name.clone().unwrap_or_default());
            uids.insert(object.metadata.uid.clone().unwrap_or_default());
            match self.heard(kind, object) {
                Ok(event) => events.extend(event),
                Err(error) => unreadable.push(error),
            }
        }
        self.gone
            .retain(|(of, uid)| *of != kind || uids.contains(uid));
        // What is newer than the list was made since.
        let ended: Vec<_> = self
            .known
            .iter()
            .filter(|((of, name), known)| {
                *of == kind && !there.contains(name) && known.version <= version
            })
            .map(|(place, _)| place.clone())
            .collect();
        events.extend(ended.iter().filter_map(|place| self.forget(place)));
        (events, unreadable)
    }

    fn forget(&mut self, place: &Place) -> Option<WatchEvent> {
        self.chores.remove(place);
        let row = self.known.remove(place)?.row?;
        Some(WatchEvent::Deleted(row.key()))
    }
}

fn difference(before: Option<&Resource>, now: Option<&Resource>) -> Option<WatchEvent> {
    match (before, now) {
        (before, Some(now)) if before != Some(now) => Some(WatchEvent::Upserted(now.clone())),
        (Some(before), None) => Some(WatchEvent::Deleted(before.key())),
        _ => None,
    }
}

/// A refusal is said once for each generation.
fn refusal(known: &Known, reason: &'static str, message: String) -> Option<Chore> {
    let said = known
        .kept
        .conditions
        .iter()
        .any(|one| one.reason == reason && one.observed_generation == Some(known.generation));
    (!said).then_some(Chore::Refuse { reason, message })
}

/// Whether somebody changed the spec since the status was written. A topic that is about to be placed, and a
/// transform that is about to be looked at, are told so with their new state.
fn is_unacknowledged(known: &Known) -> bool {
    let Some(row) = &known.row else { return false };
    let waits = matches!(row, Resource::Topic(topic)
        if topic.status.state == TopicState::Deleting
            || topic.status.state == TopicState::Pending && topic.status.reason.is_empty())
        || matches!(row, Resource::Transform(transform)
            if transform.status.state == TransformState::Pending && transform.status.reason.is_empty());
    // Which version a name stands for may be the spec's to say.
    let is_other = matches!(row, Resource::SmartModule(module)
        if known.told_current.as_ref() != Some(&module.spec.current.to_string()));
    !waits && (is_other || known.kept.observed_generation != known.generation)
}

#[cfg(test)]
mod tests;
