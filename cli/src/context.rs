//! What every command is given: which cluster to speak to, the user's profiles, the clock.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use thalweg_client::{Client, ClientOptions};
use thalweg_runtime::{Clock, SystemClock};
use thalweg_types::ResourceName;

use crate::arguments::TargetArguments;
use crate::error::CliError;
use crate::profiles::{Profile, Profiles, config_path, default_data_dir};
use crate::tls::TlsProfile;

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Context {
    target: TargetArguments,
    clock: Arc<dyn Clock>,
}

/// Where a cluster is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// host:port of the SC's admin port.
    pub(crate) cluster: String,
    /// host:port of SPUs' data ports; empty where only the SC knows them.
    pub(crate) bootstrap: Vec<String>,
    /// How to connect, where the cluster speaks TLS.
    pub(crate) tls: Option<TlsProfile>,
}

impl Endpoint {
    /// The options of a client of it.
    pub(crate) fn client_options(self) -> ClientOptions {
        ClientOptions {
            cluster: self.cluster,
            bootstrap: self.bootstrap,
            tls: self.tls.map(|tls| tls.options()),
            ..ClientOptions::default()
        }
    }
}

impl Context {
    /// For the target that the user named, if any.
    pub(crate) fn new(target: TargetArguments) -> Self {
        Self {
            target,
            clock: SystemClock::shared(),
        }
    }

    /// The clock.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The profile that the user named on the command line.
    pub(crate) fn named_profile(&self) -> Option<&ResourceName> {
        self.target.profile.as_ref()
    }

    /// Where the cluster is that the user means.
    pub(crate) fn endpoint(&self) -> Result<Endpoint, CliError> {
        let said = self.tls()?;
        let tls = |known: Option<TlsProfile>| match known {
            Some(known) => Some(known.overridden_by(said)),
            None => said,
        };
        if let Some(cluster) = &self.target.cluster {
            let known = known_as(cluster);
            return Ok(Endpoint {
                cluster: cluster.clone(),
                bootstrap: known
                    .iter()
                    .flat_map(|profile| profile.bootstrap.clone())
                    .collect(),
                tls: tls(known.into_iter().find_map(|profile| profile.tls)),
            });
        }
        let profile = self.profile()?.ok_or_else(|| {
            CliError::usage(anyhow!("no cluster is known")).next_step(
                "start one with `thalweg cluster start`, or name one with --cluster HOST:PORT",
            )
        })?;
        Ok(Endpoint {
            cluster: profile.cluster,
            bootstrap: profile.bootstrap,
            tls: tls(profile.tls),
        })
    }

    /// What the command line says of TLS.
    pub(crate) fn tls(&self) -> Result<Option<TlsProfile>, CliError> {
        self.target.tls.said()
    }

    /// A client of the cluster that the user means.
    pub(crate) async fn client(&self) -> Result<Client, CliError> {
        let options = self.endpoint()?.client_options();
        Ok(Client::connect(options).await?)
    }

    /// Whether the user means a cluster that no directory on this machine is known for.
    pub(crate) fn names_remote_cluster(&self) -> Result<bool, CliError> {
        if self.target.cluster.is_some() {
            return Ok(true);
        }
        let profile = self.profile()?;
        Ok(profile.is_some_and(|profile| profile.data_dir.is_none()))
    }

    /// The directory of the local cluster that the user means: `given`, or the profile's, or the
    /// default one.
    pub(crate) fn data_dir(&self, given: Option<PathBuf>) -> Result<PathBuf, CliError> {
        if let Some(given) = given {
            return Ok(std::path::absolute(given)?);
        }
        // A profile that does not exist yet is no error here: `cluster start` makes it.
        let profiles = Profiles::read(&config_path()?)?;
        let name = self.named_profile().or(profiles.current.as_ref());
        let profile = name.and_then(|name| profiles.profiles.get(name));
        if let Some(data_dir) = profile.and_then(|profile| profile.data_dir.clone()) {
            return Ok(data_dir);
        }
        match self.named_profile() {
            Some(name) => Ok(default_data_dir()?.with_file_name(name.as_str())),
            None => default_data_dir(),
        }
    }

    /// The profile that the user named, or the current one.
    fn profile(&self) -> Result<Option<Profile>, CliError> {
        let profiles = Profiles::read(&config_path()?)?;
        match self.named_profile().or(profiles.current.as_ref()) {
            Some(name) => profiles.get(name).cloned().map(Some),
            None => Ok(None),
        }
    }
}

/// The profiles of a cluster: with their SPUs it is found while its SC is down.
fn known_as(cluster: &str) -> Vec<Profile> {
    // Without profiles, or with damaged ones, the SC knows its SPUs.
    let Ok(profiles) = config_path().and_then(|path| Profiles::read(&path)) else {
        return Vec::new();
    };
    let known = profiles.profiles.into_values();
    known.filter(|profile| profile.cluster == cluster).collect()
}
