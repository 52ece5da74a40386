//! Who may register under which id. Pure.
//!
//! An id belongs to a data directory: the one that registered under it first, for as long as it
//! holds replicas. So an empty disk is never taken for the log that it replaced, and two SPUs never
//! answer to one id.

use thalweg_proto::{InvalidField, ServiceError, v1};
use thalweg_types::resource::{ResourceVersion, Spu, SpuSpec, SpuState, SpuStatus};
use thalweg_types::{ClusterId, DirectoryId, ErrorCode, Incarnation, SpuId};

use crate::state::ChangeError;

/// What an SPU says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Registration {
    pub(crate) spu: SpuId,
    pub(crate) incarnation: Incarnation,
    /// `None` for a new data directory.
    pub(crate) cluster_id: Option<ClusterId>,
    pub(crate) directory_id: DirectoryId,
    pub(crate) data_address: String,
    pub(crate) rack: Option<String>,
    pub(crate) software_version: String,
    /// Whether the process before this one closed its logs.
    pub(crate) ended_well: bool,
}

/// Why an SPU may not register.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegisterError {
    /// A field can't be what it is.
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    /// Its data is another cluster's.
    #[error(
        "the data directory of SPU {spu} belongs to cluster {found}, this is cluster {ours}; point it at the SC of its cluster, or give it an empty directory"
    )]
    ForeignCluster {
        /// Who it says it is.
        spu: SpuId,
        /// The cluster that its directory names.
        found: ClusterId,
        /// This cluster.
        ours: ClusterId,
    },
    /// Another process is connected under this id.
    #[error("SPU {spu} is running already with data directory {live}; give this one another id")]
    IdInUse {
        /// Who it says it is.
        spu: SpuId,
        /// The directory of the one that runs.
        live: DirectoryId,
    },
    /// The replicas that it should hold are in another directory.
    #[error(
        "SPU {spu} holds {replicas} replicas in data directory {known}, this is directory {found}; start it with that directory, or give this one another id"
    )]
    OtherDirectory {
        /// Who it says it is.
        spu: SpuId,
        /// How many replicas the SPU holds.
        replicas: usize,
        /// The directory that it registered with before.
        known: DirectoryId,
        /// The directory that it comes with.
        found: DirectoryId,
    },
    /// A later process of the same SPU has registered.
    #[error("SPU {spu} was started again since (incarnation {newer}, this is {found})")]
    Superseded {
        /// Who it says it is.
        spu: SpuId,
        /// Its own incarnation.
        found: Incarnation,
        /// The latest.
        newer: Incarnation,
    },
    /// What it changes could not be stored.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

impl ServiceError for RegisterError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) | Self::ForeignCluster { .. } | Self::OtherDirectory { .. } => {
                ErrorCode::InvalidRequest
            }
            Self::IdInUse { .. } => ErrorCode::AlreadyExists,
            Self::Superseded { .. } => ErrorCode::Fenced,
            // Registering again is harmless.
            Self::Change(_) => ErrorCode::Unavailable,
        }
    }
}

/// What is known of the id that somebody wants to register under.
#[derive(Debug)]
pub(crate) struct Known<'a> {
    pub(crate) cluster_id: ClusterId,
    /// The SPU as it registered last.
    pub(crate) stored: Option<&'a Spu>,
    /// How many replicas it should hold.
    pub(crate) replicas: usize,
    /// The directory of the session that lives.
    pub(crate) live: Option<DirectoryId>,
}

impl Registration {
    /// Whether the SPU may register.
    pub(crate) fn judge(&self, known: &Known<'_>) -> Result<(), RegisterError> {
        let spu = self.spu;
        if let Some(found) = self.cluster_id.filter(|found| *found != known.cluster_id) {
            let ours = known.cluster_id;
            return Err(RegisterError::ForeignCluster { spu, found, ours });
        }
        if let Some(live) = known.live.filter(|live| *live != self.directory_id) {
            return Err(RegisterError::IdInUse { spu, live });
        }
        let Some(stored) = known.stored.map(|stored| &stored.status) else {
            return Ok(());
        };
        if stored.directory_id != self.directory_id {
            if known.replicas == 0 {
                return Ok(());
            }
            return Err(RegisterError::OtherDirectory {
                spu,
                replicas: known.replicas,
                known: stored.directory_id,
                found: self.directory_id,
            });
        }
        if self.incarnation < stored.incarnation {
            return Err(RegisterError::Superseded {
                spu,
                found: self.incarnation,
                newer: stored.incarnation,
            });
        }
        Ok(())
    }

    /// Whether this is another life of the process than the one that is stored.
    pub(crate) fn is_restart_of(&self, stored: &Spu) -> bool {
        stored.status.directory_id != self.directory_id
            || stored.status.incarnation != self.incarnation
    }

    /// The SPU as it is to be stored, online, in place of what is `stored`.
    pub(crate) fn to_spu(&self, stored: Option<&Spu>) -> Spu {
        Spu {
            id: self.spu,
            spec: SpuSpec {
                rack: self.rack.clone(),
                // A restart ends no drain.
                draining: stored.is_some_and(|stored| stored.spec.draining),
                leaving: stored.is_some_and(|stored| stored.spec.leaving),
            },
            status: SpuStatus {
                state: SpuState::Online,
                data_address: self.data_address.clone(),
                incarnation: self.incarnation,
                directory_id: self.directory_id,
                software_version: self.software_version.clone(),
            },
            version: stored.map_or(ResourceVersion(0), |stored| stored.version),
        }
    }
}

impl TryFrom<v1::Register> for Registration {
    type Error = InvalidField;

    fn try_from(message: v1::Register) -> Result<Self, InvalidField> {
        let v1::Register {
            spu_id,
            incarnation,
            cluster_id,
            directory_id,
            data_address,
            rack,
            software_version,
            ended_well,
        } = message;
        if spu_id < 0 {
            return Err(InvalidField::new("spu_id", "must be 0 or more"));
        }
        let cluster_id = match cluster_id.as_str() {
            "" => None,
            text => Some(
                text.parse()
                    .map_err(|error| InvalidField::new("cluster_id", error))?,
            ),
        };
        let has_port = data_address
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !has_port {
            let reason = format!("`{data_address}` must be host:port");
            return Err(InvalidField::new("data_address", reason));
        }
        Ok(Self {
            spu: SpuId(spu_id),
            incarnation: Incarnation(incarnation),
            cluster_id,
            directory_id: directory_id
                .parse()
                .map_err(|error| InvalidField::new("directory_id", error))?,
            data_address,
            rack: Some(rack).filter(|rack| !rack.is_empty()),
            software_version,
            ended_well,
        })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const OURS: ClusterId = ClusterId(Uuid::from_u128(1));

    fn registration(directory: u128, incarnation: u64) -> Registration {
        Registration {
            spu: SpuId(3),
            incarnation: Incarnation(incarnation),
            cluster_id: Some(OURS),
            directory_id: DirectoryId(Uuid::from_u128(directory)),
            data_address: "127.0.0.1:9092".to_owned(),
            rack: None,
            software_version: "0.1.0".to_owned(),
            ended_well: true,
        }
    }

    fn known(stored: Option<&Spu>) -> Known<'_> {
        Known {
            cluster_id: OURS,
            stored,
            replicas: 4,
            live: None,
        }
    }

    #[test]
    fn a_new_spu_may_register_with_a_new_directory() {
        let mut new = registration(7, 1);
        new.cluster_id = None;

        assert!(new.judge(&known(None)).is_ok());
    }

    #[test]
    fn a_directory_of_another_cluster_is_refused() {
        let mut foreign = registration(7, 1);
        foreign.cluster_id = Some(ClusterId(Uuid::from_u128(2)));

        let error = foreign.judge(&known(None)).unwrap_err();

        assert!(matches!(error, RegisterError::ForeignCluster { .. }));
    }

    #[test]
    fn the_id_of_a_live_spu_is_refused_to_others_and_given_to_its_next_life() {
        let stored = registration(7, 5).to_spu(None);
        let live = Known {
            live: Some(stored.status.directory_id),
            replicas: 0,
            ..known(Some(&stored))
        };

        let other = registration(8, 9).judge(&live).unwrap_err();

        assert!(matches!(other, RegisterError::IdInUse { .. }));
        assert!(registration(7, 6).judge(&live).is_ok());
    }

    #[test]
    fn an_empty_disk_is_not_taken_for_the_replicas_that_it_replaced() {
        let stored = registration(7, 5).to_spu(None);
        let mut known = known(Some(&stored));

        let error = registration(8, 6).judge(&known).unwrap_err();
        assert!(matches!(
            error,
            RegisterError::OtherDirectory { replicas: 4, .. }
        ));

        known.replicas = 0;
        assert!(registration(8, 6).judge(&known).is_ok());
    }

    #[test]
    fn a_former_life_is_fenced_and_the_same_life_may_come_back() {
        let stored = registration(7, 5).to_spu(None);

        let error = registration(7, 4).judge(&known(Some(&stored))).unwrap_err();

        assert_eq!(error.code(), ErrorCode::Fenced);
        assert!(registration(7, 5).judge(&known(Some(&stored))).is_ok());
        assert!(!registration(7, 5).is_restart_of(&stored));
        assert!(registration(7, 6).is_restart_of(&stored));
    }

    #[test]
    fn a_restart_ends_no_drain_and_is_stored_in_place_of_the_former_life() {
        let mut stored = registration(7, 5).to_spu(None);
        stored.spec.draining = true;
        stored.version = ResourceVersion(9);

        let again = registration(7, 6).to_spu(Some(&stored));

        assert!(again.spec.draining);
        assert_eq!(again.version, stored.version);
        assert_eq!(again.status.incarnation, Incarnation(6));
    }

    #[test]
    fn an_address_without_a_port_is_refused_by_name() {
        let message = v1::Register {
            spu_id: 0,
            incarnation: 1,
            cluster_id: String::new(),
            directory_id: Uuid::from_u128(1).to_string(),
            data_address: "localhost".to_owned(),
            rack: String::new(),
            software_version: String::new(),
            ended_well: true,
        };

        let error = Registration::try_from(message).unwrap_err();

        assert_eq!(
            error.to_string(),
            "data_address: `localhost` must be host:port"
        );
    }
}
