//! A module's sections and code, against ABI v1.
//!
//! [`check_sections`] looks at the sections and costs next to nothing; [`check_code`] validates the
//! code and costs a pass over it, so it runs once per content hash, in front of the compiler.
//! Both take bytes from anywhere.

use std::collections::BTreeMap;

use thalweg_smartmodule_abi as abi;
use wasmparser::{
    ExternalKind, FuncType, MemoryType, Operator, Parser, Payload, TypeRef, ValType, Validator,
    WasmFeatures,
};

use crate::imports::{hint, offered_import};
use crate::params::{self, DeclaredParam};
use crate::{LoadError, kind_export};
use thalweg_types::resource::SmartModuleKind;

/// Bounds on a module's structure. Toolchains stay far below them; what passes them is made to
/// make a compiler work for ever.
mod bounds {
    pub(super) const FUNCTIONS: u64 = 50_000;
    pub(super) const FUNCTION_BYTES: u64 = 128 * 1024;
    pub(super) const TYPES: u64 = 10_000;
    /// Parameters and results of all types together: the host compiles an entry for each type.
    pub(super) const TYPE_VALUES: u64 = 100_000;
    pub(super) const IMPORTS: u64 = 100;
    pub(super) const EXPORTS: u64 = 1_000;
    pub(super) const GLOBALS: u64 = 10_000;
    pub(super) const TABLES: u64 = 4;
    pub(super) const TABLE_ENTRIES: u64 = 100_000;
    pub(super) const SEGMENTS: u64 = 100_000;
    pub(super) const LOCALS: u64 = 10_000;
    /// Of all functions together: ten thousand take three bytes to declare.
    pub(super) const ALL_LOCALS: u64 = 1_000_000;
}

/// What every module starts with.
const WASM_MAGIC: &[u8] = b"\0asm";

/// What the compiler gets to see of WebAssembly: what Rust, C, Go and AssemblyScript use.
fn features() -> WasmFeatures {
    WasmFeatures::WASM2 | WasmFeatures::EXTENDED_CONST
}

/// What a module is, as far as its bytes say.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModuleShape {
    /// What it does with records.
    pub kind: SmartModuleKind,
    /// The size that its memory starts with.
    pub memory_bytes: u64,
    /// Whether it takes parameters.
    pub has_init: bool,
    /// Whether it wants to see records of before the stream's start.
    pub looks_back: bool,
    /// The parameters that it says it takes; empty also for one that does not say.
    pub params: Vec<DeclaredParam>,
}

/// Reads the sections of `wasm` and checks them against ABI v1. Costs next to nothing.
///
/// # Errors
/// Says what is wrong with the module and what to do about it.
pub fn check_sections(wasm: &[u8]) -> Result<ModuleShape, LoadError> {
    if Parser::is_component(wasm) {
        return Err(LoadError::Component);
    }
    // The parser would dump the bytes that it met over many lines.
    if !wasm.starts_with(WASM_MAGIC) {
        return Err(LoadError::NotWasm {
            reason: "its first bytes are not `\\0asm`".to_owned(),
        });
    }
    let mut sections = Sections::default();
    for payload in Parser::new(0).parse_all(wasm) {
        sections.take(payload.map_err(not_wasm)?)?;
    }
    sections.check()
}

fn not_wasm(error: wasmparser::Error) -> LoadError {
    LoadError::NotWasm {
        reason: error.to_string(),
    }
}

#[derive(Default)]
struct Sections {
    types: Vec<FuncType>,
    /// How many parameters and results they have together.
    type_values: u64,
    /// The type of each function, imported ones first.
    functions: Vec<u32>,
    /// What is imported: module, name, and the type when it is a function.
    imports: Vec<(String, String, Option<FuncType>)>,
    exports: BTreeMap<String, (ExternalKind, u32)>,
    memories: Vec<MemoryType>,
    tables: u64,
    /// What it says of its parameters.
    declared_params: Vec<u8>,
}

impl Sections {
    fn take(&mut self, payload: Payload<'_>) -> Result<(), LoadError> {
        match payload {
            Payload::TypeSection(section) => {
                at_most("types", section.count().into(), bounds::TYPES)?;
                for func_type in section.into_iter_err_on_gc_types() {
                    let func_type = func_type.map_err(not_wasm)?;
                    self.type_values +=
                        (func_type.params().len() + func_type.results().len()) as u64;
                    at_most(
                        "parameters and results of types",
                        self.type_values,
                        bounds::TYPE_VALUES,
                    )?;
                    self.types.push(func_type);
                }
            }
            Payload::ImportSection(section) => {
                at_most("imports", section.count().into(), bounds::IMPORTS)?;
                for import in section.into_imports() {
                    let import = import.map_err(not_wasm)?;
                    self.take_import(import.module, import.name, import.ty);
                }
            }
            Payload::FunctionSection(section) => {
                at_most("functions", section.count().into(), bounds::FUNCTIONS)?;
                for index in section {
                    self.functions.push(index.map_err(not_wasm)?);
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    let table = table.map_err(not_wasm)?.ty;
                    self.tables += 1;
                    at_most("tables", self.tables, bounds::TABLES)?;
                    at_most("table entries", table.initial, bounds::TABLE_ENTRIES)?;
                }
            }
            Payload::MemorySection(section) => {
                at_most("memories", section.count().into(), 1)?;
                for memory in section {
                    self.memories.push(memory.map_err(not_wasm)?);
                }
            }
            Payload::GlobalSection(section) => {
                at_most("globals", section.count().into(), bounds::GLOBALS)?;
            }
            Payload::ExportSection(section) => {
                at_most("exports", section.count().into(), bounds::EXPORTS)?;
                for export in section {
                    let export = export.map_err(not_wasm)?;
                    self.exports
                        .insert(export.name.to_owned(), (export.kind, export.index));
                }
            }
            Payload::ElementSection(section) => {
                at_most("element segments", section.count().into(), bounds::SEGMENTS)?;
            }
            Payload::DataSection(section) => {
                at_most("data segments", section.count().into(), bounds::SEGMENTS)?;
            }
            Payload::CodeSectionEntry(body) => {
                let range = body.range();
                let function_bytes = range.end.saturating_sub(range.start);
                at_most(
                    "bytes of code in one function",
                    function_bytes,
                    bounds::FUNCTION_BYTES,
                )?;
            }
            Payload::CustomSection(section) if section.name() == abi::PARAMS_SECTION => {
                self.declared_params.extend_from_slice(section.data());
            }
            _ => {}
        }
        Ok(())
    }

    fn take_import(&mut self, module: &str, name: &str, ty: TypeRef) {
        let func_type = match ty {
            TypeRef::Func(index) => {
                self.functions.push(index);
                self.types.get(index as usize).cloned()
            }
            _ => None,
        };
        self.imports
            .push((module.to_owned(), name.to_owned(), func_type));
    }

    fn check(&self) -> Result<ModuleShape, LoadError> {
        self.check_imports()?;
        self.check_abi_version()?;
        let kind = self.kind()?;
        let memory = self.memory()?;
        self.check_function(abi::EXPORT_ALLOC, &[ValType::I32], &[ValType::I32])?
            .ok_or(LoadError::MissingExport {
                export: abi::EXPORT_ALLOC,
            })?;
        let call: (&[ValType], &[ValType]) = (&[ValType::I32, ValType::I32], &[ValType::I32]);
        for export in [kind_export(kind), abi::EXPORT_INIT, abi::EXPORT_LOOK_BACK] {
            self.check_function(export, call.0, call.1)?;
        }
        if kind == SmartModuleKind::Aggregate {
            self.check_function(abi::EXPORT_AGGREGATE_GROUPS, call.0, call.1)?;
        }
        self.check_function(abi::EXPORT_INITIALIZE, &[], &[])?;
        Ok(ModuleShape {
            kind,
            memory_bytes: memory.initial.saturating_mul(64 << 10),
            has_init: self.exports.contains_key(abi::EXPORT_INIT),
            looks_back: self.exports.contains_key(abi::EXPORT_LOOK_BACK),
            params: params::declared(&self.declared_params),
        })
    }

    fn check_imports(&self) -> Result<(), LoadError> {
        for (module, name, func_type) in &self.imports {
            let refuse = |hint| LoadError::ImportNotOffered {
                module: module.clone(),
                name: name.clone(),
                hint,
            };
            let offered = offered_import(module, name).ok_or_else(|| refuse(hint(module)))?;
            let actual = func_type
                .as_ref()
                .ok_or_else(|| refuse("the host offers it as a function"))?;
            if !offered.matches(actual.params(), actual.results()) {
                return Err(refuse("the host offers it with another type"));
            }
        }
        Ok(())
    }

    fn check_abi_version(&self) -> Result<(), LoadError> {
        if self.exports.contains_key(abi::EXPORT_ABI_V1) {
            return Ok(());
        }
        let other = self
            .exports
            .keys()
            .find(|name| name.starts_with(abi::EXPORT_ABI_PREFIX));
        if let Some(version) = other {
            return Err(LoadError::WrongAbiVersion {
                version: version.clone(),
            });
        }
        // Modules for fluvio export the bare names of the kinds.
        let foreign = SmartModuleKind::ALL
            .into_iter()
            .find(|kind| self.exports.contains_key(kind.name()));
        Err(match foreign {
            Some(kind) => LoadError::OtherAbi {
                export: kind.name().to_owned(),
            },
            // A module without any kind is told that first: it most likely lacks the attribute.
            None if self.kinds().is_empty() => LoadError::NoKind,
            None => LoadError::NoAbiVersion,
        })
    }

    fn kinds(&self) -> Vec<SmartModuleKind> {
        SmartModuleKind::ALL
            .into_iter()
            .filter(|kind| self.exports.contains_key(kind_export(*kind)))
            .collect()
    }

    fn kind(&self) -> Result<SmartModuleKind, LoadError> {
        match self.kinds().as_slice() {
            [] => Err(LoadError::NoKind),
            [kind] => Ok(*kind),
            several => Err(LoadError::SeveralKinds {
                kinds: several.iter().map(|kind| kind.name()).collect(),
            }),
        }
    }

    fn memory(&self) -> Result<&MemoryType, LoadError> {
        let missing = LoadError::MissingExport {
            export: abi::EXPORT_MEMORY,
        };
        match self.exports.get(abi::EXPORT_MEMORY) {
            Some((ExternalKind::Memory, 0)) => self.memories.first().ok_or(missing),
            _ => Err(missing),
        }
    }

    /// `None` when there is no such export.
    fn check_function(
        &self,
        export: &str,
        params: &[ValType],
        results: &[ValType],
    ) -> Result<Option<()>, LoadError> {
        let Some((kind, index)) = self.exports.get(export) else {
            return Ok(None);
        };
        let wrong = |actual: String| LoadError::WrongExport {
            export: export.to_owned(),
            expected: format!("a function {}", signature_text(params, results)),
            actual,
        };
        if *kind != ExternalKind::Func {
            return Err(wrong(format!("a {kind:?}").to_lowercase()));
        }
        let func_type = self
            .functions
            .get(*index as usize)
            .and_then(|&index| self.types.get(index as usize))
            .ok_or_else(|| wrong("a function of unknown type".to_owned()))?;
        if func_type.params() != params || func_type.results() != results {
            let actual = signature_text(func_type.params(), func_type.results());
            return Err(wrong(format!("a function {actual}")));
        }
        Ok(Some(()))
    }
}

fn at_most(what: &'static str, count: u64, limit: u64) -> Result<(), LoadError> {
    if count > limit {
        return Err(LoadError::TooMany { what, count, limit });
    }
    Ok(())
}

fn signature_text(params: &[ValType], results: &[ValType]) -> String {
    let list = |types: &[ValType]| {
        let names: Vec<_> = types.iter().map(ToString::to_string).collect();
        names.join(", ")
    };
    format!("({}) -> ({})", list(params), list(results))
}

/// Validates the code of `wasm` and refuses the instructions that guests may not use. Costs a pass
/// over the code.
///
/// # Errors
/// Says what is wrong with the module and what to do about it.
pub fn check_code(wasm: &[u8]) -> Result<(), LoadError> {
    Validator::new_with_features(features())
        .validate_all(wasm)
        .map_err(not_wasm)?;
    let mut all_locals = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        let Payload::CodeSectionEntry(body) = payload.map_err(not_wasm)? else {
            continue;
        };
        let mut locals = 0;
        for declared in body.get_locals_reader().map_err(not_wasm)? {
            locals += u64::from(declared.map_err(not_wasm)?.0);
            at_most("local variables in one function", locals, bounds::LOCALS)?;
        }
        all_locals += locals;
        at_most(
            "local variables in all functions",
            all_locals,
            bounds::ALL_LOCALS,
        )?;
        for operator in body.get_operators_reader().map_err(not_wasm)? {
            check_operator(&operator.map_err(not_wasm)?)?;
        }
    }
    Ok(())
}

/// Refuses what calls into allocating code of the host: see the engine's deadline.
fn check_operator(operator: &Operator<'_>) -> Result<(), LoadError> {
    let instruction = match operator {
        Operator::TableGrow { .. } => "table.grow",
        Operator::TableInit { .. } => "table.init",
        Operator::TableCopy { .. } => "table.copy",
        Operator::TableFill { .. } => "table.fill",
        Operator::TableSet { .. } => "table.set",
        Operator::TableGet { .. } => "table.get",
        Operator::ElemDrop { .. } => "elem.drop",
        Operator::MemoryInit { .. } => "memory.init",
        Operator::DataDrop { .. } => "data.drop",
        _ => return Ok(()),
    };
    Err(LoadError::InstructionNotOffered {
        instruction,
        hint: "build without shared memory, passive segments and growing tables",
    })
}
