//! The options that attach SmartModules to a stream.
//!
//! An option that belongs to a module (`-e`, `--on-error`, `--lookback-last`, `--lookback-age`) goes
//! to the module before it on the command line; one that stands before the first module goes to
//! all. A chain of any length can be written in a `--transforms` file instead.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use thalweg_client::SmartModuleInvocation;
use thalweg_types::{LookBack, ModuleRef, OnError, parse_duration};

use crate::commands::{KeyValue, parse_key_value};
use crate::error::CliError;
use crate::transforms::{self, Transform, Uses};

/// SmartModules for a stream, in the order in which records pass them.
#[derive(Debug, Clone, Default)]
pub(crate) struct SmartModuleArguments {
    /// Modules named one by one, with their places on the command line.
    modules: Vec<(usize, Uses)>,
    /// What belongs to modules, in the order of the command line.
    settings: Vec<(usize, Setting)>,
    transforms: Option<PathBuf>,
    transforms_lines: Vec<String>,
}

/// Something that belongs to a module.
#[derive(Debug, Clone)]
enum Setting {
    Param(KeyValue),
    OnError(OnError),
    LookBackLast(u64),
    LookBackAge(Duration),
}

/// The options as they stand in the help.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "SmartModules")]
#[allow(
    dead_code,
    reason = "read from the matches, for the order of what repeats"
)]
struct SmartModuleOptions {
    /// Pass records through the SmartModule in this wasm file; repeated, one after the other.
    #[arg(long, visible_aliases = ["wasm-file", "module"], value_name = "FILE")]
    smartmodule_path: Vec<PathBuf>,

    /// Pass records through this SmartModule, which the cluster keeps; may be repeated, also among
    /// files.
    #[arg(long, visible_aliases = ["sm", "uses"], value_name = "NAME[@VERSION]")]
    smartmodule: Vec<ModuleRef>,

    /// A parameter for the SmartModule before it on the command line, or for all when it stands
    /// before the first; may be repeated.
    #[arg(long = "param", short = 'e', visible_aliases = ["params", "with"], value_name = "KEY=VALUE", value_parser = parse_key_value)]
    param: Vec<KeyValue>,

    /// What becomes of a record that the SmartModule fails on: stop, skip or dead_letter:TOPIC. For
    /// the SmartModule before it, or for all, as --param.
    #[arg(long, value_name = "POLICY")]
    on_error: Vec<OnError>,

    /// Show the SmartModule the last N records of before the start. For the SmartModule before it,
    /// or for all, as --param.
    #[arg(long, value_name = "N")]
    lookback_last: Vec<u64>,

    /// Show the SmartModule the records of before the start that are not older than this. For the
    /// SmartModule before it, or for all, as --param.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    lookback_age: Vec<Duration>,

    /// Pass records through the chain in this YAML file.
    #[arg(long, short = 't', value_name = "FILE", conflicts_with_all = BY_FLAGS)]
    transforms: Option<PathBuf>,

    /// A step of the chain, as in a --transforms file; repeated, one after the other.
    #[arg(long, value_name = "STEP", conflicts_with_all = BY_FLAGS, conflicts_with = "transforms")]
    transforms_line: Vec<String>,
}

/// A chain comes by these or from YAML.
const BY_FLAGS: [&str; 6] = [
    "smartmodule_path",
    "smartmodule",
    "param",
    "on_error",
    "lookback_last",
    "lookback_age",
];

impl Args for SmartModuleArguments {
    fn augment_args(command: Command) -> Command {
        SmartModuleOptions::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        SmartModuleOptions::augment_args_for_update(command)
    }
}

impl FromArgMatches for SmartModuleArguments {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut arguments = Self::default();
        arguments.update_from_arg_matches(matches)?;
        Ok(arguments)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.modules = placed(matches, "smartmodule_path", Uses::File);
        self.modules
            .extend(placed(matches, "smartmodule", Uses::Registered));
        self.modules.sort_by_key(|(place, _)| *place);
        self.settings = placed(matches, "param", Setting::Param);
        self.settings
            .extend(placed(matches, "on_error", Setting::OnError));
        self.settings
            .extend(placed(matches, "lookback_last", Setting::LookBackLast));
        self.settings
            .extend(placed(matches, "lookback_age", Setting::LookBackAge));
        self.settings.sort_by_key(|(place, _)| *place);
        self.transforms = matches.get_one("transforms").cloned();
        self.transforms_lines = matches
            .get_many("transforms_line")
            .map(|lines| lines.cloned().collect())
            .unwrap_or_default();
        Ok(())
    }
}

/// The values of an option with their places on the command line.
fn placed<T: Clone + Send + Sync + 'static, U>(
    matches: &ArgMatches,
    id: &str,
    as_what: impl Fn(T) -> U,
) -> Vec<(usize, U)> {
    let places = matches.indices_of(id).into_iter().flatten();
    let values = matches.get_many::<T>(id).into_iter().flatten();
    places.zip(values.cloned().map(as_what)).collect()
}

impl SmartModuleArguments {
    /// The chain; empty where nothing is said of one.
    ///
    /// # Errors
    /// When a file can't be read or understood, or there are settings and nobody to take them.
    pub(crate) fn chain(self) -> Result<Vec<Transform>, CliError> {
        if let Some(path) = &self.transforms {
            return transforms::from_file(path);
        }
        if !self.transforms_lines.is_empty() {
            let lines = self.transforms_lines.iter();
            return lines.map(|line| transforms::from_line(line)).collect();
        }
        let modules = self.modules;
        if modules.is_empty() && !self.settings.is_empty() {
            let error = anyhow!(
                "--param, --on-error and --lookback-* are for a SmartModule, and none is given"
            );
            return Err(CliError::usage(error)
                .next_step("add --smartmodule NAME or --smartmodule-path FILE"));
        }
        let (places, mut chain): (Vec<_>, Vec<_>) = modules
            .into_iter()
            .map(|(place, uses)| (place, Transform::new(uses)))
            .unzip();
        for (place, setting) in self.settings {
            let before = places.partition_point(|module| *module < place);
            let taken_by = match before.checked_sub(1) {
                Some(last) => &mut chain[last..=last],
                None => &mut chain[..],
            };
            for module in taken_by {
                setting.clone().apply_to(module);
            }
        }
        Ok(chain)
    }

    /// Whether the chain is written in YAML, which says everything of each step itself.
    pub(crate) fn is_yaml(&self) -> bool {
        self.transforms.is_some() || !self.transforms_lines.is_empty()
    }

    /// As [`Self::chain`], with what `default` gives where no module is named.
    ///
    /// # Errors
    /// As [`Self::chain`], and when `default` fails.
    pub(crate) fn chain_or(
        mut self,
        default: impl FnOnce() -> Result<PathBuf, CliError>,
    ) -> Result<Vec<Transform>, CliError> {
        if !self.is_yaml() && self.modules.is_empty() {
            // Behind all settings, so that they are those of all modules.
            self.modules.push((usize::MAX, Uses::File(default()?)));
        }
        self.chain()
    }

    /// The chain as a client sends it with a stream, and how its aggregate accumulates.
    ///
    /// # Errors
    /// As [`Self::chain`] and [`AggregateArguments::of_chain`].
    pub(crate) fn invocations(
        self,
        aggregate: &AggregateArguments,
    ) -> Result<(Vec<SmartModuleInvocation>, Accumulating), CliError> {
        let chain = self.chain()?;
        let accumulating = aggregate.of_chain(&chain)?;
        let invocations = chain.into_iter().map(Transform::into_invocation);
        Ok((invocations.collect::<Result<_, _>>()?, accumulating))
    }
}

impl Setting {
    fn apply_to(self, module: &mut Transform) {
        let look_back = module.look_back;
        let mut bounds = look_back.unwrap_or_default();
        match self {
            Self::Param((key, value)) => {
                module.with.insert(key, value);
                return;
            }
            Self::OnError(on_error) => {
                module.on_error = on_error;
                return;
            }
            Self::LookBackLast(last) => bounds.last = Some(last),
            Self::LookBackAge(age) => {
                bounds.age_ms = Some(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
            }
        }
        module.look_back = Some(bounds).filter(|bounds| *bounds != LookBack::default());
    }
}

/// What an aggregate of the chain is given.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "SmartModules")]
pub(crate) struct AggregateArguments {
    /// What an aggregate starts from; @FILE for the bytes of a file, @@ for a text that begins with
    /// an @.
    #[arg(long, value_name = "TEXT")]
    aggregate_initial: Option<String>,

    /// Let an aggregate accumulate for each key, and not for each partition.
    #[arg(long)]
    aggregate_by_key: bool,
}

/// How the aggregate of a chain accumulates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Accumulating {
    /// What it starts from; nothing where not given.
    pub(crate) initial: Option<Bytes>,
    pub(crate) by_key: bool,
}

impl AggregateArguments {
    /// How the aggregate of `chain` accumulates, by these options or by what its step says.
    ///
    /// # Errors
    /// When both say something, or a file can't be read, or the chain has windows.
    pub(crate) fn of_chain(&self, chain: &[Transform]) -> Result<Accumulating, CliError> {
        let mut steps = chain.iter();
        let Some(aggregate) = steps.find_map(|step| step.aggregate.as_ref()) else {
            return Ok(Accumulating {
                initial: self.initial()?,
                by_key: self.aggregate_by_key,
            });
        };
        if aggregate.window.is_some() {
            let error = anyhow!("only transforms have windows, and the chain's aggregate has some");
            return Err(CliError::usage(error)
                .next_step("leave `window` out, or run the chain by `thalweg transform deploy`"));
        }
        if self.aggregate_initial.is_some() || self.aggregate_by_key {
            let error = anyhow!("the chain says itself how its aggregate accumulates");
            return Err(CliError::usage(error).next_step(
                "leave out --aggregate-initial and --aggregate-by-key, or `aggregate` in the chain",
            ));
        }
        Ok(Accumulating {
            initial: Some(aggregate.initial.clone().into()),
            by_key: aggregate.by_key,
        })
    }

    /// What an aggregate starts from.
    ///
    /// # Errors
    /// When the file can't be read.
    fn initial(&self) -> Result<Option<Bytes>, CliError> {
        let Some(text) = &self.aggregate_initial else {
            return Ok(None);
        };
        let bytes = match text.strip_prefix('@') {
            None => text.clone().into_bytes(),
            Some(rest) if rest.starts_with('@') => rest.to_owned().into_bytes(),
            Some(path) => std::fs::read(path)
                .with_context(|| format!("failed to read --aggregate-initial {path}"))
                .map_err(CliError::usage)?,
        };
        Ok(Some(bytes.into()))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        smartmodules: SmartModuleArguments,
    }

    fn chain(line: &str) -> Vec<Transform> {
        let words = ["test"].into_iter().chain(line.split(' '));
        Line::parse_from(words).smartmodules.chain().unwrap()
    }

    fn params(step: &Transform) -> Vec<String> {
        let pairs = step.with.iter();
        pairs.map(|(key, value)| format!("{key}={value}")).collect()
    }

    #[test]
    fn a_setting_goes_to_the_module_before_it_or_to_all_before_the_first() {
        let chain = chain(
            "-e all=1 --lookback-last 3 --smartmodule-path a.wasm -e x=1 --on-error skip \
             --smartmodule b@1.0.0 -e x=2 -e all=2 --smartmodule-path=c.wasm --lookback-age 1m",
        );

        assert_eq!(params(&chain[0]), ["all=1", "x=1"]);
        assert_eq!(params(&chain[1]), ["all=2", "x=2"]);
        assert_eq!(params(&chain[2]), ["all=1"]);
        let names: Vec<_> = chain.iter().map(Transform::name).collect();
        assert_eq!(names, ["a", "b@1.0.0", "c"]);
        let policies: Vec<_> = chain.iter().map(|step| step.on_error.to_string()).collect();
        assert_eq!(policies, ["skip", "stop", "stop"]);
        let last = chain.iter().map(|step| step.look_back.unwrap().last);
        assert_eq!(last.collect::<Vec<_>>(), [Some(3); 3]);
        assert_eq!(chain[2].look_back.unwrap().age_ms, Some(60_000));
    }

    #[test]
    fn settings_alone_are_those_of_a_default_module() {
        let line = Line::parse_from(["test", "-e", "a=b", "--on-error", "skip"]);

        let chain = line
            .smartmodules
            .chain_or(|| Ok("built.wasm".into()))
            .unwrap();

        assert_eq!((chain[0].name().as_str(), chain.len()), ("built", 1));
        assert_eq!(params(&chain[0]), ["a=b"]);
        assert_eq!(chain[0].on_error, OnError::Skip);
    }

    #[test]
    fn settings_without_a_module_and_chains_in_two_forms_are_refused() {
        let line = Line::parse_from(["test", "-e", "a=b"]);
        let error = line.smartmodules.chain().unwrap_err().to_string();
        assert!(error.contains("none is given"), "{error}");

        let both = ["test", "-t", "chain.yaml", "--smartmodule-path", "a.wasm"];
        assert!(Line::try_parse_from(both).is_err());
        let wrong = [
            "test",
            "--smartmodule-path",
            "a.wasm",
            "--on-error",
            "never",
        ];
        let error = Line::try_parse_from(wrong).unwrap_err().to_string();
        assert!(error.contains("dead_letter:<topic>"), "{error}");
    }

    #[test]
    fn how_an_aggregate_accumulates_is_said_once() {
        let line = r#"{"uses": "sum", "aggregate": {"initial": 100, "by_key": true}}"#;
        let chain = [transforms::from_line(line).unwrap()];
        let by_key = AggregateArguments {
            aggregate_initial: None,
            aggregate_by_key: true,
        };

        let accumulating = AggregateArguments::default().of_chain(&chain).unwrap();
        let both = by_key.of_chain(&chain).unwrap_err();

        let expected = Accumulating {
            initial: Some("100".into()),
            by_key: true,
        };
        assert_eq!(accumulating, expected);
        assert!(both.to_string().contains("says itself"), "{both}");
        assert!(by_key.of_chain(&[]).unwrap().by_key);
        let line = r#"{"uses": "sum", "aggregate": {"window": "tumbling:5m"}}"#;
        let windowed = [transforms::from_line(line).unwrap()];
        let error = AggregateArguments::default().of_chain(&windowed);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("only transforms have windows"), "{error}");
    }

    #[test]
    fn the_start_of_an_aggregate_is_a_text_or_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [0, 255]).unwrap();
        let initial = |text: &str| {
            let arguments = AggregateArguments {
                aggregate_initial: Some(text.to_owned()),
                aggregate_by_key: false,
            };
            arguments.initial().map(Option::unwrap)
        };

        assert_eq!(initial("100").unwrap(), "100");
        assert_eq!(initial("@@home").unwrap(), "@home");
        let from_file = initial(&format!("@{}", file.path().display()));
        assert_eq!(&from_file.unwrap()[..], [0, 255]);
        assert!(initial("@/nowhere/at/all").is_err());
    }
}
