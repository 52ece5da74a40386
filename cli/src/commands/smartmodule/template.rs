//! The files of a new project.
//!
//! In the templates a line that begins with `//+` is for modules with parameters and one with
//! `//-` for those without; `{{name}}` stands for a value.

use thalweg_types::resource::SmartModuleKind;

const CARGO: &str = include_str!("../../../templates/smartmodule/Cargo.toml.in");
const CONFIG: &str = include_str!("../../../templates/smartmodule/config.toml.in");
const README: &str = include_str!("../../../templates/smartmodule/README.md.in");
const FILTER: &str = include_str!("../../../templates/smartmodule/filter.rs.in");
const MAP: &str = include_str!("../../../templates/smartmodule/map.rs.in");
const FILTER_MAP: &str = include_str!("../../../templates/smartmodule/filter_map.rs.in");
const ARRAY_MAP: &str = include_str!("../../../templates/smartmodule/array_map.rs.in");
const AGGREGATE: &str = include_str!("../../../templates/smartmodule/aggregate.rs.in");

/// What a project is made for.
#[derive(Debug)]
pub(super) struct Template<'a> {
    /// The package's name.
    pub(super) name: &'a str,
    /// The module's kind.
    pub(super) kind: SmartModuleKind,
    /// Whether it takes parameters.
    pub(super) with_params: bool,
    /// Where the SDK is, as Cargo writes it.
    pub(super) sdk: &'a str,
}

impl Template<'_> {
    /// The files: where they go, and what is in them.
    pub(super) fn files(&self) -> [(&'static str, String); 5] {
        let library = match self.kind {
            SmartModuleKind::Filter => FILTER,
            SmartModuleKind::Map => MAP,
            SmartModuleKind::FilterMap => FILTER_MAP,
            SmartModuleKind::ArrayMap => ARRAY_MAP,
            SmartModuleKind::Aggregate => AGGREGATE,
        };
        [
            ("Cargo.toml", self.fill(CARGO)),
            ("src/lib.rs", self.fill(library)),
            (".cargo/config.toml", self.fill(CONFIG)),
            ("README.md", self.fill(README)),
            (".gitignore", "/target\n".to_owned()),
        ]
    }

    /// What to try the module with.
    pub(super) fn example(&self) -> &'static str {
        match (self.kind, self.with_params) {
            (SmartModuleKind::Filter, false) => "--text 'ERROR no disk' --text 'INFO started'",
            (SmartModuleKind::Filter, true) => {
                "--text 'ERROR no disk' --text 'INFO started' --param word=INFO"
            }
            (SmartModuleKind::Map, false) => "--text hello",
            (SmartModuleKind::Map, true) => "--text hello --param prefix='- '",
            (SmartModuleKind::FilterMap, false) => "--text 21 --text twenty",
            (SmartModuleKind::FilterMap, true) => "--text 21 --text twenty --param factor=3",
            (SmartModuleKind::ArrayMap, false) => "--text a,b,c",
            (SmartModuleKind::ArrayMap, true) => "--text 'a b c' --param separator=' '",
            (SmartModuleKind::Aggregate, false) => "--text 40 --text 2",
            (SmartModuleKind::Aggregate, true) => "--text 40 --text 2 --param weight=10",
        }
    }

    fn fill(&self, template: &str) -> String {
        let (wanted, other) = if self.with_params {
            ("//+", "//-")
        } else {
            ("//-", "//+")
        };
        let lines = template
            .lines()
            .filter(|line| !line.starts_with(other))
            .map(|line| line.strip_prefix(wanted).unwrap_or(line));
        let mut text = String::with_capacity(template.len());
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        let crate_name = self.name.replace('-', "_");
        let wasm = format!("target/wasm32-unknown-unknown/release/{crate_name}.wasm");
        for (field, value) in [
            ("{{name}}", self.name),
            ("{{function}}", &function_name(&crate_name)),
            ("{{kind}}", self.kind.name()),
            ("{{sdk}}", self.sdk),
            ("{{example}}", self.example()),
            ("{{wasm}}", &wasm),
        ] {
            text = text.replace(field, value);
        }
        text
    }
}

/// The function is called like the crate, unless that is the name of something that the file has.
fn function_name(crate_name: &str) -> String {
    if matches!(crate_name, "harness" | "init" | "number" | "tests") {
        format!("{crate_name}_records")
    } else {
        crate_name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_mark_of_a_template_is_left_in_any_file() {
        for kind in SmartModuleKind::ALL {
            for with_params in [false, true] {
                let template = Template {
                    name: "my-module",
                    kind,
                    with_params,
                    sdk: "\"0.1\"",
                };
                for (path, text) in template.files() {
                    for mark in ["{{", "//+", "//-"] {
                        assert!(!text.contains(mark), "{path} has `{mark}`:\n{text}");
                    }
                }
                let library = &template.files()[1].1;
                assert_eq!(library.contains("SmartOpt"), with_params, "{library}");
                assert!(
                    library.contains(&format!("#[smartmodule({})]\nfn my_module", kind.name()))
                );
            }
        }
    }
}
