//! The command line as a whole.

use clap::{Args, Parser, Subcommand};
use thalweg_types::ResourceName;

use crate::commands::{
    bench, cluster, completions, consume, group, partition, produce, profile, smartmodule, spu,
    topic, transform, version,
};
use crate::exit_code::ExitCode;
use crate::local_cluster::detach;
use crate::tls::TlsArguments;

/// Thalweg: a streaming platform.
///
/// Start a cluster on this machine with `thalweg cluster start`, then create topics, produce to
/// them and consume from them.
#[derive(Debug, Parser)]
#[command(
    name = "thalweg",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = ExitCode::help(),
    after_long_help = format!("Examples:
  $ thalweg cluster start
  $ thalweg topic create greetings
  $ echo hello | thalweg produce greetings
  $ thalweg consume greetings -B -d

{}", ExitCode::help())
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) target: TargetArguments,

    /// Log what the command does to stderr, for example `debug` or `thalweg_client=trace`.
    #[arg(
        long,
        global = true,
        env = "THALWEG_LOG",
        value_name = "FILTER",
        help_heading = "Global options"
    )]
    pub(crate) log: Option<String>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which cluster a command speaks to. Without either, the current profile.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct TargetArguments {
    /// The cluster, as host:port of its controller's admin port.
    #[arg(long, short = 'c', global = true, env = "THALWEG_CLUSTER", value_name = "ADDRESS", value_parser = address, conflicts_with = "profile")]
    pub(crate) cluster: Option<String>,

    /// The profile of the cluster; see `thalweg profile list`.
    #[arg(
        long,
        short = 'P',
        global = true,
        env = "THALWEG_PROFILE",
        value_name = "NAME"
    )]
    pub(crate) profile: Option<ResourceName>,

    #[command(flatten)]
    pub(crate) tls: TlsArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Produce(produce::ProduceArguments),
    Consume(consume::ConsumeArguments),
    #[command(subcommand)]
    Topic(topic::TopicCommand),
    #[command(subcommand)]
    Partition(partition::PartitionCommand),
    #[command(subcommand)]
    Group(group::GroupCommand),
    #[command(subcommand)]
    Spu(spu::SpuCommand),
    #[command(subcommand, name = "smartmodule", visible_alias = "sm")]
    SmartModule(smartmodule::SmartModuleCommand),
    #[command(subcommand, visible_alias = "tf")]
    Transform(transform::TransformCommand),
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    #[command(subcommand)]
    Profile(profile::ProfileCommand),
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    Completions(completions::CompletionsArguments),
    Version(version::VersionArguments),
    #[command(hide = true)]
    Detach(detach::DetachArguments),
}

/// Reads `host:port`.
pub(crate) fn address(text: &str) -> Result<String, String> {
    let parts = text.rsplit_once(':');
    match parts.map(|(host, port)| (host, port.parse::<u16>())) {
        Some((host, Ok(port))) if !host.is_empty() && port > 0 => Ok(text.to_owned()),
        _ => Err("write it as host:port, for example 127.0.0.1:9003".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_and_option_is_explained() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "`{path}` has no help");
            for argument in command.get_arguments() {
                let id = argument.get_id();
                assert!(
                    argument.get_help().is_some(),
                    "`{path}` has no help for {id}"
                );
            }
            for sub in command.get_subcommands() {
                check(sub, &path);
            }
        }

        let mut command = Arguments::command();
        command.build();
        check(&command, "");
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        assert!(address("localhost:9003").is_ok());
        for wrong in [
            "localhost",
            ":9003",
            "localhost:",
            "localhost:0",
            "localhost:70000",
        ] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }
}
