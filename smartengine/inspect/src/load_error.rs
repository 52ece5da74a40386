//! Why bytes are not a SmartModule that an engine runs.

/// Why a module is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The bytes are no WebAssembly.
    #[error(
        "not a WebAssembly module ({reason}): send the .wasm file that `cargo build --target wasm32-unknown-unknown` makes"
    )]
    NotWasm {
        /// What the parser met.
        reason: String,
    },
    /// A WebAssembly component rather than a core module.
    #[error(
        "this is a WebAssembly component: build a core module (target wasm32-unknown-unknown or wasm32-wasip1)"
    )]
    Component,
    /// The module is larger than this engine takes.
    #[error(
        "the module has {module_bytes} bytes, more than the {limit_bytes} allowed: build with `--profile smartmodule` or strip debug sections"
    )]
    TooLarge {
        /// The module's size.
        module_bytes: usize,
        /// The largest size taken.
        limit_bytes: usize,
    },
    /// The module's structure passes one of the fixed bounds.
    #[error("the module has {count} {what}, more than the {limit} allowed")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many the module has.
        count: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// No kind is exported.
    #[error("no SmartModule kind exported: annotate a function with #[smartmodule(filter)]")]
    NoKind,
    /// More than one kind is exported.
    #[error(
        "the module exports {} kinds ({}): keep one #[smartmodule(..)] kind in a module",
        kinds.len(),
        kinds.join(", ")
    )]
    SeveralKinds {
        /// The kinds' names.
        kinds: Vec<&'static str>,
    },
    /// The module looks like one built with fluvio's SDK.
    #[error(
        "this module exports `{export}` but no Thalweg ABI: it looks built with another SDK; change its `use` line to `thalweg_smartmodule` and rebuild"
    )]
    OtherAbi {
        /// The export that gave it away.
        export: String,
    },
    /// The module does not say which ABI it speaks.
    #[error(
        "the module exports no `{}`: build it with the Thalweg SDK, or see docs/formats/smartmodule-abi.md",
        thalweg_smartmodule_abi::EXPORT_ABI_V1
    )]
    NoAbiVersion,
    /// The module speaks an ABI that this engine does not.
    #[error(
        "the module is built for `{version}`, this engine offers thalweg_abi_v1: upgrade the cluster or rebuild with an SDK of its version"
    )]
    WrongAbiVersion {
        /// The export that names the version.
        version: String,
    },
    /// An export that every module needs is missing.
    #[error(
        "the module exports no `{export}`: build it with the Thalweg SDK, or see docs/formats/smartmodule-abi.md"
    )]
    MissingExport {
        /// The missing export.
        export: &'static str,
    },
    /// An export has another type than the ABI says.
    #[error("the export `{export}` must be {expected}, not {actual}")]
    WrongExport {
        /// The export.
        export: String,
        /// What the ABI says.
        expected: String,
        /// What the module has.
        actual: String,
    },
    /// The module imports something that no host offers.
    #[error("the module imports `{module}.{name}`, which is not offered: {hint}")]
    ImportNotOffered {
        /// The import's module.
        module: String,
        /// The import's name.
        name: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// The module uses an instruction that guests may not use.
    #[error("the module uses `{instruction}`, which SmartModules may not: {hint}")]
    InstructionNotOffered {
        /// The instruction.
        instruction: &'static str,
        /// What to do about it.
        hint: &'static str,
    },
    /// The module's memory starts larger than a guest's may be.
    #[error(
        "the module's memory starts with {memory_bytes} bytes, more than the {limit_bytes} allowed"
    )]
    MemoryTooLarge {
        /// What the module asks for.
        memory_bytes: u64,
        /// What is allowed.
        limit_bytes: u64,
    },
    /// Too many modules are to be compiled at once.
    #[error("too many SmartModules wait to be compiled: try again later")]
    Busy,
    /// The compiler refused the module.
    #[error("failed to compile the module: {reason}")]
    Compile {
        /// What the compiler said.
        reason: String,
    },
}
