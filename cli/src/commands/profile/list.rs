//! `profile list`

use std::path::PathBuf;

use serde::Serialize;
use thalweg_types::ResourceName;

use crate::error::CliError;
use crate::output::{OutputArguments, Render, Table};
use crate::profiles::{Profile, Profiles, config_path};

/// List the profiles.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct ProfileList(Vec<ProfileRow>);

/// A profile as commands show it.
#[derive(Debug, Serialize)]
pub(super) struct ProfileRow {
    name: ResourceName,
    current: bool,
    cluster: String,
    bootstrap: Vec<String>,
    data_dir: Option<PathBuf>,
}

impl ProfileRow {
    pub(super) fn new(name: ResourceName, current: bool, profile: Profile) -> Self {
        Self {
            name,
            current,
            cluster: profile.cluster,
            bootstrap: profile.bootstrap,
            data_dir: profile.data_dir,
        }
    }

    pub(super) fn name(&self) -> &ResourceName {
        &self.name
    }
}

impl Render for ProfileList {
    fn render(&self) -> String {
        let mut table = Table::new(["", "NAME", "CLUSTER", "DATA"]);
        for profile in &self.0 {
            let data_dir = profile.data_dir.as_ref();
            table.row([
                if profile.current { "*" } else { "" }.to_owned(),
                profile.name.to_string(),
                profile.cluster.clone(),
                data_dir.map_or_else(|| "-".to_owned(), |path| path.display().to_string()),
            ]);
        }
        table.text()
    }
}

pub(crate) fn run(arguments: &ListArguments) -> Result<(), CliError> {
    let profiles = Profiles::read(&config_path()?)?;
    let current = profiles.current;
    let rows = profiles.profiles.into_iter().map(|(name, profile)| {
        let is_current = current.as_ref() == Some(&name);
        ProfileRow::new(name, is_current, profile)
    });
    arguments.output.print(&ProfileList(rows.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_in_use_is_marked() {
        let row = |name: &str, current| {
            let profile = Profile {
                cluster: "127.0.0.1:1".to_owned(),
                ..Profile::default()
            };
            ProfileRow::new(name.parse().unwrap(), current, profile)
        };

        assert_eq!(
            ProfileList(vec![row("far", false), row("local", true)]).render(),
            "   NAME   CLUSTER      DATA\n   far    127.0.0.1:1  -\n*  local  127.0.0.1:1  -"
        );
    }
}
