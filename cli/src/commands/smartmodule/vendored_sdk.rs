//! The SDK's sources, carried in this program: `smartmodule new` writes them into a project where
//! there is no checkout to point to.
//!
//! The files are the checkout's own but for the manifests, which there inherit from the workspace;
//! here what they inherit is written out, and what only the checkout needs (tests, examples, lints)
//! is left out.

use anyhow::{Context, Result};
use toml::{Table, Value};

/// Where the SDK goes in a project.
pub(super) const FOLDER: &str = "vendor/thalweg-smartmodule";

const WORKSPACE: &str = include_str!("../../../../Cargo.toml");

macro_rules! files_of_sdk {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../../smartmodule-sdk/", $path)))),*]
    };
}

/// Paths in `smartmodule-sdk`, and what the files hold.
const FILES: &[(&str, &str)] = files_of_sdk![
    "Cargo.toml",
    "abi/Cargo.toml",
    "abi/src/answer.rs",
    "abi/src/bitmap.rs",
    "abi/src/groups.rs",
    "abi/src/input.rs",
    "abi/src/lib.rs",
    "abi/src/output_buffer.rs",
    "abi/src/params.rs",
    "abi/src/record.rs",
    "abi/src/record_writer.rs",
    "abi/src/varint.rs",
    "derive/Cargo.toml",
    "derive/src/declared.rs",
    "derive/src/harness.rs",
    "derive/src/lib.rs",
    "derive/src/smart_opt.rs",
    "derive/src/smartmodule.rs",
    "src/accumulator.rs",
    "src/current.rs",
    "src/dataplane.rs",
    "src/error.rs",
    "src/from_record.rs",
    "src/guest.rs",
    "src/host.rs",
    "src/http.rs",
    "src/json.rs",
    "src/json_place.rs",
    "src/key_value.rs",
    "src/lib.rs",
    "src/output.rs",
    "src/params.rs",
    "src/record.rs",
    "src/record_data.rs",
    "src/state.rs",
    "src/table.rs",
    "src/testing.rs",
    "src/to_data.rs",
];

/// Every file of the SDK: its path in [`FOLDER`], and what it holds.
pub(super) fn files() -> Result<Vec<(&'static str, String)>> {
    let workspace: Table = WORKSPACE.parse().context("the workspace's manifest")?;
    let inherited = workspace.get("workspace").context("no workspace")?;
    FILES
        .iter()
        .map(|&(path, text)| {
            let text = match path.strip_suffix("Cargo.toml") {
                None => text.to_owned(),
                Some(folder) => manifest(text, folder, inherited).context(path)?,
            };
            Ok((path, text))
        })
        .collect()
}

/// A package's manifest without its workspace.
fn manifest(text: &str, folder: &str, inherited: &Value) -> Result<String> {
    let mut manifest: Table = text.parse()?;
    for of_the_checkout in ["lints", "dev-dependencies", "target", "example"] {
        manifest.remove(of_the_checkout);
    }
    for section in ["package", "dependencies"] {
        let Some(Value::Table(entries)) = manifest.get_mut(section) else {
            continue;
        };
        for (name, entry) in entries {
            if entry.get("workspace").is_some() {
                let from = inherited.get(section).and_then(|from| from.get(name));
                let from = from.with_context(|| format!("the workspace has no {name}"))?;
                *entry = merged(from, entry, folder);
            }
        }
    }
    Ok(toml::to_string_pretty(&manifest)?)
}

/// What the workspace says of a dependency, with what the package adds; paths from the package.
fn merged(from: &Value, entry: &Value, folder: &str) -> Value {
    let Value::Table(added) = entry else {
        return from.clone();
    };
    let mut merged = match from {
        Value::Table(from) => from.clone(),
        // A field of the package, or a bare version.
        plain if added.len() == 1 => return plain.clone(),
        version => Table::from_iter([("version".to_owned(), version.clone())]),
    };
    for (name, value) in added.iter().filter(|(name, _)| *name != "workspace") {
        merged.insert(name.clone(), value.clone());
    }
    if let Some(Value::String(path)) = merged.get_mut("path") {
        let up = "../".repeat(folder.matches('/').count());
        let within = path.strip_prefix("smartmodule-sdk/").unwrap_or(path);
        *path = format!("{up}{within}");
    }
    Value::Table(merged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn every_source_of_the_sdk_is_carried() {
        let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../smartmodule-sdk");
        let mut there = BTreeSet::new();
        for package in ["", "abi/", "derive/"] {
            there.insert(format!("{package}Cargo.toml"));
            for entry in std::fs::read_dir(sdk.join(package).join("src")).unwrap() {
                let name = entry.unwrap().file_name();
                there.insert(format!("{package}src/{}", name.to_string_lossy()));
            }
        }

        let carried = FILES.iter().map(|(path, _)| (*path).to_owned());

        assert_eq!(carried.collect::<BTreeSet<_>>(), there);
    }

    #[test]
    fn a_manifest_stands_without_a_workspace() {
        let files = files().unwrap();
        let manifest = |wanted: &str| -> Table {
            let (_, text) = files.iter().find(|(path, _)| *path == wanted).unwrap();
            assert!(!text.contains("workspace"), "{text}");
            text.parse().unwrap()
        };

        let sdk = manifest("Cargo.toml");
        assert_eq!(sdk["package"]["edition"].as_str(), Some("2024"));
        assert!(sdk.get("example").is_none() && sdk.get("dev-dependencies").is_none());
        let dependencies = &sdk["dependencies"];
        assert_eq!(
            dependencies["thalweg-smartmodule-abi"]["path"].as_str(),
            Some("abi")
        );
        assert_eq!(dependencies["serde_json"]["optional"].as_bool(), Some(true));
        assert_eq!(
            dependencies["serde"]["features"][0].as_str(),
            Some("derive")
        );
        assert!(manifest("abi/Cargo.toml").contains_key("package"));
        assert!(
            manifest("derive/Cargo.toml")["dependencies"]["syn"]
                .get("features")
                .is_some()
        );
    }
}
