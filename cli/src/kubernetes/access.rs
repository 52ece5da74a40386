//! Which Kubernetes, and which namespace of it.

use std::path::PathBuf;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::error::CliError;

/// The options that say which Kubernetes is meant. Without any, what `kubectl` would take.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Kubernetes options")]
pub(crate) struct KubernetesArguments {
    /// The namespace. Default: the context's.
    #[arg(long, value_name = "NAME", requires = "kubernetes")]
    pub(crate) namespace: Option<String>,

    /// The context of the kubeconfig. Default: the one in use.
    #[arg(long, value_name = "NAME", requires = "kubernetes")]
    pub(crate) context: Option<String>,

    /// The kubeconfig file. Default: $KUBECONFIG, or ~/.kube/config.
    #[arg(long, value_name = "FILE", requires = "kubernetes")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// A client of the API server, and the namespace.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

impl Access {
    /// Reads the kubeconfig. Nothing is asked of the API server yet.
    pub(crate) async fn of(arguments: &KubernetesArguments) -> Result<Self, CliError> {
        let options = KubeConfigOptions {
            context: arguments.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = match &arguments.kubeconfig {
            Some(path) => match Kubeconfig::read_from(path) {
                Ok(file) => Config::from_custom_kubeconfig(file, &options).await,
                Err(error) => Err(error),
            },
            None => Config::from_kubeconfig(&options).await,
        };
        let config = config.map_err(|error| {
            CliError::usage(error)
                .context("failed to find out where Kubernetes is".to_owned())
                .next_step("see that `kubectl get nodes` works, or name a file with --kubeconfig and a context with --context")
        })?;
        let namespace = match &arguments.namespace {
            Some(namespace) => namespace.clone(),
            None => config.default_namespace.clone(),
        };
        Ok(Self {
            client: Client::try_from(config)?,
            namespace,
        })
    }
}

/// Says what was asked for, and what to do about the commonest refusals.
pub(super) fn refused(doing: &str) -> impl FnOnce(kube::Error) -> CliError {
    move |error| {
        let next_step = match &error {
            kube::Error::Api(status) if status.is_forbidden() => {
                "have somebody give you that right, or ask somebody who has it"
            }
            kube::Error::Api(status) if status.is_conflict() => {
                "change it with the tool that made it, such as `kubectl apply`"
            }
            kube::Error::Api(_) => "mend what the API server says",
            _ => "see that `kubectl get nodes` works",
        };
        let is_answer = matches!(error, kube::Error::Api(_));
        let refused = if is_answer {
            CliError::from(error)
        } else {
            CliError::unavailable(error)
        };
        refused
            .context(format!("failed to {doing}"))
            .next_step(next_step)
    }
}
