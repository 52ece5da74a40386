//! Everything behind the README's commands: `cargo demo`, `cargo ci`, `cargo xtask tidy`.
//!
//! Drives cargo and the built programs as a user would, and depends on none of the project's own
//! crates, so that it compiles in seconds and shows what it waits for.
#![forbid(unsafe_code)]

mod build;
mod ci;
mod demo;
mod image;
mod kubernetes;
mod packages;
mod report;
mod tidy;
mod workspace;

use std::process::ExitCode;

use kubernetes::Nodes;

const USAGE: &str = "usage: cargo xtask COMMAND
  demo      the tour: a cluster, 336,776 flights, five SmartModules, a transform (cargo demo)
  ci        everything that must hold before a change goes in (cargo ci)
  generate  what is made from the sources: k8s/crds
  image     the container image as an OCI archive; `image NAME:TAG` to call it so
  tidy      the shape of the sources: head comments, lengths, names, links
  k8s       tests against a real Kubernetes with simulated nodes; arguments go to the tests
  k8s-real  the same with real nodes, which needs root
  k8s-figures  what a cluster of 1,000 topics costs on simulated nodes: times, writes, memory";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["demo"] => demo::run(),
        ["ci"] => ci::run(),
        ["generate"] => build::generated_files(),
        ["image"] => image::make(image::NAME).map(drop),
        ["image", name] => image::make(name).map(drop),
        ["tidy"] => tidy::run(),
        ["k8s", ref arguments @ ..] => kubernetes::test(Nodes::Simulated, arguments),
        ["k8s-figures"] => kubernetes::figures(),
        ["k8s-real", ref arguments @ ..] => kubernetes::test(Nodes::Real, arguments),
        _ => {
            report::complain(USAGE);
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::complain(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
