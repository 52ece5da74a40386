//! Profiles: the clusters that this user knows, by name, in one TOML file.
//!
//! A profile keeps the SC's address and the SPUs', so that producing and consuming go on while the
//! SC is down. The file is replaced in one step, under a lock, so that commands side by side lose
//! nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use thalweg_types::ResourceName;

use crate::error::CliError;
use crate::tls::TlsProfile;

/// The variable that names another file than the default one.
pub(crate) const CONFIG_VARIABLE: &str = "THALWEG_CONFIG";

/// The profile that `cluster start` writes when none is named.
pub(crate) const DEFAULT_PROFILE: &str = "local";

/// One cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// host:port of the SC's admin port.
    pub(crate) cluster: String,
    /// host:port of SPUs' data ports; enough of them that one answers.
    #[serde(default)]
    pub(crate) bootstrap: Vec<String>,
    /// Where the cluster's data is, when `cluster start` made it on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data_dir: Option<PathBuf>,
    /// How to connect, where the cluster speaks TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<TlsProfile>,
}

/// All profiles, and which one counts where none is named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profiles {
    /// The one in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<ResourceName>,
    /// By name.
    #[serde(default)]
    pub(crate) profiles: BTreeMap<ResourceName, Profile>,
}

impl Profiles {
    /// Reads the file; no file is no profiles.
    pub(crate) fn read(path: &Path) -> Result<Self, CliError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => {
                return Err(CliError::from(error)
                    .context(format!("failed to read the profiles in {}", path.display())));
            }
        };
        toml::from_str(&text).map_err(|error| {
            CliError::usage(error)
                .context(format!("{} can't be understood", path.display()))
                .next_step("mend or remove that file")
        })
    }

    /// Reads the file, lets `change` change it, and writes it back, alone.
    pub(crate) fn update<T>(
        path: &Path,
        change: impl FnOnce(&mut Self) -> Result<T, CliError>,
    ) -> Result<T, CliError> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let failed = || format!("failed to write the profiles in {}", path.display());
        std::fs::create_dir_all(folder).with_context(failed)?;
        let lock = File::create(path.with_extension("lock")).with_context(failed)?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).with_context(failed)?;

        let mut profiles = Self::read(path)?;
        let result = change(&mut profiles)?;
        let text = toml::to_string_pretty(&profiles).with_context(failed)?;
        let mut file = tempfile::NamedTempFile::new_in(folder).with_context(failed)?;
        file.write_all(text.as_bytes()).with_context(failed)?;
        file.persist(path).with_context(failed)?;
        Ok(result)
    }

    /// The profile called `name`.
    pub(crate) fn get(&self, name: &ResourceName) -> Result<&Profile, CliError> {
        self.profiles.get(name).ok_or_else(|| {
            CliError::not_found(format!("profile `{name}` does not exist"))
                .next_step("`thalweg profile list` shows which there are")
        })
    }

    /// Forgets the profile called `name`.
    pub(crate) fn remove(&mut self, name: &ResourceName) -> Result<(), CliError> {
        self.get(name)?;
        self.profiles.remove(name);
        if self.current.as_ref() == Some(name) {
            self.current = None;
        }
        Ok(())
    }
}

/// Where the file is: `$THALWEG_CONFIG`, or `thalweg/config.toml` in the user's configuration home.
pub(crate) fn config_path() -> Result<PathBuf, CliError> {
    if let Some(path) = std::env::var_os(CONFIG_VARIABLE) {
        return Ok(path.into());
    }
    Ok(user_home("XDG_CONFIG_HOME", ".config")?.join("thalweg/config.toml"))
}

/// Where clusters keep their data when no directory is named.
pub(crate) fn default_data_dir() -> Result<PathBuf, CliError> {
    Ok(user_home("XDG_DATA_HOME", ".local/share")?.join("thalweg/local"))
}

/// A folder of the user by the XDG rules.
fn user_home(variable: &str, below_home: &str) -> Result<PathBuf, CliError> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    set(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| set("HOME").map(|home| Path::new(&home).join(below_home)))
        .ok_or_else(|| {
            CliError::usage(anyhow::anyhow!("neither HOME nor {variable} is set"))
                .next_step(format!("set HOME, or {CONFIG_VARIABLE} and --data-dir"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ResourceName {
        text.parse().unwrap()
    }

    #[test]
    fn what_was_written_is_read_again_and_other_profiles_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/config.toml");
        let profile = |address: &str| Profile {
            cluster: address.to_owned(),
            bootstrap: vec!["127.0.0.1:2".to_owned()],
            data_dir: None,
            tls: None,
        };

        for (id, address) in [("one", "127.0.0.1:1"), ("two", "127.0.0.1:3")] {
            Profiles::update(&path, |profiles| {
                profiles.profiles.insert(name(id), profile(address));
                profiles.current = Some(name(id));
                Ok(())
            })
            .unwrap();
        }

        let profiles = Profiles::read(&path).unwrap();
        assert_eq!(profiles.current, Some(name("two")));
        assert_eq!(profiles.get(&name("one")).unwrap(), &profile("127.0.0.1:1"));
    }

    #[test]
    fn removing_the_current_profile_leaves_none_in_use() {
        let mut profiles = Profiles {
            current: Some(name("one")),
            profiles: [(name("one"), Profile::default())].into(),
        };

        profiles.remove(&name("one")).unwrap();

        assert_eq!(profiles, Profiles::default());
        assert!(profiles.remove(&name("one")).is_err());
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, "current = [").unwrap();

        let error = Profiles::read(&path).unwrap_err();

        assert!(error.to_string().contains("config.toml"), "{error}");
    }
}
