//! `profile add`

use anyhow::anyhow;
use thalweg_client::Client;
use thalweg_types::ResourceName;

use crate::arguments::address;
use crate::context::{Context, Endpoint};
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::kubernetes::{Access, KubernetesArguments, found_tls, sc_address};
use crate::output::note;
use crate::profiles::{Profile, Profiles, config_path};

/// Add a profile for a cluster, and use it.
///
/// The cluster's SPUs are asked for and kept in the profile, so that producing and consuming go
/// on while its controller is down.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  $ thalweg profile add trial 127.0.0.1:9003
  $ thalweg profile add safe sc.example.com:9003 --tls-ca ca.pem
  $ thalweg profile add prod --kubernetes --namespace prod")]
pub(crate) struct AddArguments {
    /// Name of the profile.
    name: ResourceName,

    /// The cluster, as host:port of its controller's admin port.
    #[arg(value_parser = address, required_unless_present = "kubernetes", conflicts_with = "kubernetes")]
    address: Option<String>,

    /// host:port of an SPU's data port; may be repeated. Default: those that are online now.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    bootstrap: Vec<String>,

    /// Find the cluster on Kubernetes, by the kubeconfig.
    #[arg(long, help_heading = "Kubernetes options")]
    kubernetes: bool,

    #[command(flatten)]
    access: KubernetesArguments,
}

/// What becomes of a profile of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Refuse,
    Replace,
}

pub(crate) async fn run(arguments: AddArguments, context: &Context) -> Result<(), CliError> {
    let said = context.tls()?;
    let (cluster, tls) = match arguments.address {
        Some(address) => (address, said),
        None => {
            let access = Access::of(&arguments.access).await?;
            let tls = found_tls(&access, said).await?;
            (sc_address(&access).await?, tls)
        }
    };
    let name = arguments.name;
    let endpoint = Endpoint {
        cluster,
        bootstrap: arguments.bootstrap,
        tls,
    };
    write(&name, endpoint, Existing::Refuse).await?;
    note(&format!("profile `{name}` added and in use"));
    Ok(())
}

/// Has the profile `name` point to `endpoint` and uses it. Without SPUs in it those that are online are asked
/// for.
pub(crate) async fn write(
    name: &ResourceName,
    mut endpoint: Endpoint,
    existing: Existing,
) -> Result<(), CliError> {
    if endpoint.bootstrap.is_empty() {
        let client = Client::connect(endpoint.clone().client_options()).await?;
        let spus = client.admin().list_spus().await?.into_iter();
        endpoint.bootstrap = spus
            .filter(|spu| spu.is_online())
            .map(|spu| spu.status.data_address)
            .collect();
    }
    Profiles::update(&config_path()?, |profiles| {
        if existing == Existing::Refuse && profiles.profiles.contains_key(name) {
            let error = anyhow!("profile `{name}` exists");
            return Err(
                CliError::new(ExitCode::AlreadyExists, error).next_step(format!(
                    "delete it first with `thalweg profile delete {name}`"
                )),
            );
        }
        let profile = Profile {
            cluster: endpoint.cluster,
            bootstrap: endpoint.bootstrap,
            data_dir: None,
            tls: endpoint.tls,
        };
        profiles.profiles.insert(name.clone(), profile);
        profiles.current = Some(name.clone());
        Ok(())
    })
}
