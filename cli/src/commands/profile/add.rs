//! `profile add`

use anyhow::anyhow;
use thalweg_client::{Client, ClientOptions};
use thalweg_types::ResourceName;

use crate::arguments::address;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::output::note;
use crate::profiles::{Profile, Profiles, config_path};

/// Add a profile for a cluster, and use it.
///
/// The cluster's SPUs are asked for and kept in the profile, so that producing and consuming go
/// on while its controller is down.
#[derive(Debug, clap::Args)]
pub(crate) struct AddArguments {
    /// Name of the profile.
    name: ResourceName,

    /// The cluster, as host:port of its controller's admin port.
    #[arg(value_parser = address)]
    address: String,

    /// host:port of an SPU's data port; may be repeated. Default: those that are online now.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    bootstrap: Vec<String>,
}

pub(crate) async fn run(arguments: AddArguments) -> Result<(), CliError> {
    let AddArguments {
        name,
        address,
        mut bootstrap,
    } = arguments;
    if bootstrap.is_empty() {
        let client = Client::connect(ClientOptions::new(&address)).await?;
        let spus = client.admin().list_spus().await?.into_iter();
        bootstrap = spus
            .filter(|spu| spu.is_online())
            .map(|spu| spu.status.data_address)
            .collect();
    }
    Profiles::update(&config_path()?, |profiles| {
        if profiles.profiles.contains_key(&name) {
            let error = anyhow!("profile `{name}` exists");
            return Err(
                CliError::new(ExitCode::AlreadyExists, error).next_step(format!(
                    "delete it first with `thalweg profile delete {name}`"
                )),
            );
        }
        let profile = Profile {
            cluster: address,
            bootstrap,
            data_dir: None,
        };
        profiles.profiles.insert(name.clone(), profile);
        profiles.current = Some(name.clone());
        Ok(())
    })?;
    note(&format!("profile `{name}` added and in use"));
    Ok(())
}
