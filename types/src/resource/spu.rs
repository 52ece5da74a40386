//! The SPU: a process that holds replicas and serves them.

use serde::{Deserialize, Serialize};

use super::ResourceVersion;
use crate::{DirectoryId, Incarnation, SpuId};

/// A Streaming Processing Unit, as it registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spu {
    /// Its number in the cluster.
    pub id: SpuId,
    /// What it was set up with.
    pub spec: SpuSpec,
    /// What is so.
    pub status: SpuStatus,
    /// The store's version of this row.
    #[serde(default)]
    pub version: ResourceVersion,
}

impl Spu {
    /// Whether the SC hears from it.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.status.state != SpuState::Offline
    }

    /// Whether it may be given partitions and leaderships that it does not have.
    #[must_use]
    pub fn takes_more(&self) -> bool {
        self.status.state == SpuState::Online && !self.spec.draining
    }
}

/// What an SPU was set up with, and what is wanted of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpuSpec {
    /// Where it stands, for keeping replicas apart; `None` where unknown.
    #[serde(default)]
    pub rack: Option<String>,
    /// Whether it is to give all that it holds to others.
    #[serde(default)]
    pub draining: bool,
    /// Whether it is to be removed from the cluster, which happens once it is down and holds nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
}

/// Whether the SC hears from an SPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SpuState {
    /// It registered, and its heartbeats come in.
    Online,
    /// As above, and it has said that it is about to stop.
    Stopping,
    /// It said goodbye, or went silent.
    Offline,
}

/// What is so of an SPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpuStatus {
    /// Whether the SC hears from it.
    pub state: SpuState,
    /// `host:port` of its data port, as clients reach it.
    pub data_address: String,
    /// The life of its process that registered last.
    pub incarnation: Incarnation,
    /// Its data directory.
    pub directory_id: DirectoryId,
    /// The version of its program.
    pub software_version: String,
}
