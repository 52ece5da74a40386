//! The rows in memory, and the judging of writes against them. No I/O.

use std::collections::BTreeMap;

use thalweg_types::resource::{Resource, ResourceKey, ResourceKind, ResourceVersion};

use crate::{Counter, Refused, WatchEvent, Write};

/// What is stored.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    rows: BTreeMap<ResourceKey, Resource>,
    counters: Counters,
}

/// The numbers that were given out last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// The newest version of any row, also of rows that are gone.
    pub(crate) revision: u64,
    pub(crate) controller_epoch: u64,
    pub(crate) producer_id: u64,
}

impl Counters {
    pub(crate) fn of(&mut self, counter: Counter) -> &mut u64 {
        match counter {
            Counter::ControllerEpoch => &mut self.controller_epoch,
            Counter::ProducerId => &mut self.producer_id,
        }
    }
}

/// What is to be stored, and what the caller is told once it is.
#[derive(Debug)]
pub(crate) struct Plan<T> {
    /// In order.
    pub(crate) changes: Vec<WatchEvent>,
    pub(crate) counters: Counters,
    pub(crate) answer: T,
}

impl Rows {
    pub(crate) fn new(rows: BTreeMap<ResourceKey, Resource>, counters: Counters) -> Self {
        Self { rows, counters }
    }

    pub(crate) fn get(&self, key: &ResourceKey) -> Option<&Resource> {
        self.rows.get(key)
    }

    pub(crate) fn list(&self, kind: ResourceKind) -> Vec<Resource> {
        let of_kind = |(key, _): &(&ResourceKey, &Resource)| key.kind() == kind;
        self.rows
            .iter()
            .filter(of_kind)
            .map(|(_, resource)| resource.clone())
            .collect()
    }

    pub(crate) fn all(&self) -> Vec<Resource> {
        self.rows.values().cloned().collect()
    }

    /// Judges each of `writes` as if those before it had been made.
    pub(crate) fn plan(&self, writes: Vec<Write>) -> Plan<Vec<Result<Resource, Refused>>> {
        let mut counters = self.counters;
        let mut changes = Vec::with_capacity(writes.len());
        let mut planned: BTreeMap<ResourceKey, Option<Resource>> = BTreeMap::new();
        let answer = writes
            .into_iter()
            .map(|write| {
                let key = write.key();
                let current = match planned.get(&key) {
                    Some(planned) => planned.as_ref(),
                    None => self.rows.get(&key),
                };
                let deletes = matches!(write, Write::Delete { .. });
                let judged = judge(write, current)?;
                let resource = if deletes {
                    planned.insert(key.clone(), None);
                    changes.push(WatchEvent::Deleted(key));
                    counters.revision += 1;
                    judged
                } else {
                    counters.revision += 1;
                    let stored = judged.with_version(ResourceVersion(counters.revision));
                    planned.insert(key, Some(stored.clone()));
                    changes.push(WatchEvent::Upserted(stored.clone()));
                    stored
                };
                Ok(resource)
            })
            .collect();
        Plan {
            changes,
            counters,
            answer,
        }
    }

    /// Takes `count` numbers; the answer is the first of them.
    pub(crate) fn plan_take(&self, counter: Counter, count: u32) -> Plan<u64> {
        let mut counters = self.counters;
        let last = counters.of(counter);
        let first = *last + 1;
        *last += u64::from(count);
        Plan {
            changes: Vec::new(),
            counters,
            answer: first,
        }
    }

    /// Takes over what was persisted.
    pub(crate) fn apply<T>(&mut self, plan: &Plan<T>) {
        self.counters = plan.counters;
        for change in &plan.changes {
            match change {
                WatchEvent::Upserted(resource) => {
                    self.rows.insert(resource.key(), resource.clone());
                }
                WatchEvent::Deleted(key) => {
                    self.rows.remove(key);
                }
                WatchEvent::Snapshot(all) => {
                    let keyed = all.iter().map(|row| (row.key(), row.clone()));
                    self.rows = keyed.collect();
                }
            }
        }
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }
}

/// Whether `write` may be made where `current` is stored: what to store, or what to delete.
fn judge(write: Write, current: Option<&Resource>) -> Result<Resource, Refused> {
    let expect_version = |key: ResourceKey, expected: ResourceVersion| match current {
        None => Err(Refused::NotFound(key)),
        Some(current) if current.version() != expected => Err(Refused::Conflict {
            key,
            expected,
            found: current.version(),
        }),
        Some(current) => Ok(current.clone()),
    };
    match write {
        Write::Create(resource) => match current {
            Some(_) => Err(Refused::AlreadyExists(resource.key())),
            None => Ok(resource),
        },
        Write::Update(resource) => {
            expect_version(resource.key(), resource.version()).map(|_| resource)
        }
        Write::Delete { key, version } => expect_version(key, version),
    }
}
