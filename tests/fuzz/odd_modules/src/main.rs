//! Writes SmartModules that are valid and odd, as seeds for the target `module_loader`.
//!
//! `wasm-smith` makes them from numbers: each has the exports of a kind, and code that does anything.
//! Some use what the loader refuses (tables that grow, several memories), most don't. The same seed
//! gives the same modules.
//!
//! ```sh
//! cargo run --release -- 2000 ../corpus/module_loader
//! ```

use std::env::args;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use arbitrary::Unstructured;
use wasm_smith::{Config, Module};

/// The kinds' exports, all of the same type.
const KINDS: [&str; 5] = ["filter", "map", "filter_map", "array_map", "aggregate"];
/// How many numbers a module is made of, in bytes.
const MADE_OF_BYTES: usize = 2_000;

fn main() -> Result<()> {
    let mut arguments = args().skip(1);
    let count: u64 = arguments.next().context("how many?")?.parse()?;
    let folder: PathBuf = arguments.next().context("into which folder?")?.into();
    let seed: u64 = arguments.next().map_or(Ok(1), |seed| seed.parse())?;
    fs::create_dir_all(&folder)?;
    let mut numbers = Numbers(seed);
    for index in 0..count {
        let bytes: Vec<u8> = (0..MADE_OF_BYTES).map(|_| numbers.next_byte()).collect();
        let kind = KINDS[index as usize % KINDS.len()];
        let module = odd_module(kind, index % 4 == 0, &bytes)?;
        fs::write(folder.join(format!("odd-{seed}-{index}")), module)?;
    }
    Ok(())
}

fn odd_module(kind: &str, uses_everything: bool, bytes: &[u8]) -> Result<Vec<u8>> {
    let exports = format!(
        r#"(module
            (memory (export "memory") 1 4)
            (func (export "thalweg_abi_v1"))
            (func (export "thalweg_alloc") (param i32) (result i32) unreachable)
            (func (export "thalweg_{kind}") (param i32 i32) (result i32) unreachable))"#
    );
    let config = Config {
        exports: Some(wat::parse_str(exports)?),
        max_imports: 0,
        max_funcs: 12,
        max_memory32_bytes: 4 << 16,
        gc_enabled: false,
        exceptions_enabled: uses_everything,
        tail_call_enabled: uses_everything,
        threads_enabled: uses_everything,
        memory64_enabled: false,
        custom_page_sizes_enabled: false,
        shared_everything_threads_enabled: false,
        wide_arithmetic_enabled: false,
        max_memories: if uses_everything { 3 } else { 1 },
        max_tables: if uses_everything { 3 } else { 1 },
        ..Config::default()
    };
    let module = Module::new(config, &mut Unstructured::new(bytes))?;
    Ok(module.to_bytes())
}

/// Numbers that look like chance (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next_byte(&mut self) -> u8 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as u8
    }
}
