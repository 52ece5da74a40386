//! Just enough of WebAssembly's binary format to write modules that nobody would keep as text.

use std::iter;

/// The type of a kind: takes address and length, gives an address.
pub(crate) const KIND_TYPE: u32 = 0;
/// The type of `thalweg_abi_v1`: takes and gives nothing.
pub(crate) const NOTHING_TYPE: u32 = 1;
/// The type of `thalweg_alloc`.
const ALLOC_TYPE: u32 = 2;
/// What [`Module`] puts in front of a module's own functions: the kind, the version, the buffer.
pub(crate) const OWN_FUNCTIONS: u32 = 3;

pub(crate) const I32: u8 = 0x7f;
pub(crate) const I64: u8 = 0x7e;

/// A module that would be a map, and what else is in it.
#[derive(Default)]
pub(crate) struct Module {
    types: Vec<Vec<u8>>,
    imports: Vec<Vec<u8>>,
    functions: Vec<u32>,
    exports: Vec<Vec<u8>>,
    bodies: Vec<Vec<u8>>,
    custom_bytes: usize,
}

impl Module {
    pub(crate) fn new() -> Self {
        let mut module = Self::default();
        module.add_type(&[I32, I32], &[I32]);
        module.add_type(&[], &[]);
        module.add_type(&[I32], &[I32]);
        module
    }

    pub(crate) fn add_type(&mut self, params: &[u8], results: &[u8]) -> u32 {
        let mut func_type = vec![0x60];
        for list in [params, results] {
            push_number(&mut func_type, list.len() as u64);
            func_type.extend_from_slice(list);
        }
        self.types.push(func_type);
        self.types.len() as u32 - 1
    }

    /// Imports `thalweg.panic`.
    pub(crate) fn import_panic(&mut self) {
        let panic_type = self.types.len() as u32;
        if self.imports.is_empty() {
            self.add_type(&[I32, I32], &[]);
        }
        let mut import = [name("thalweg"), name("panic"), vec![0]].concat();
        let panic_type = if self.imports.is_empty() {
            panic_type
        } else {
            panic_type - 1
        };
        push_number(&mut import, panic_type.into());
        self.imports.push(import);
    }

    /// Adds a function: groups of local variables, then its instructions without the last `end`.
    pub(crate) fn add_function(&mut self, func_type: u32, locals: &[(u32, u8)], code: &[u8]) {
        self.functions.push(func_type);
        self.bodies.push(body(locals, code));
    }

    pub(crate) fn export_again(&mut self, as_name: &str) {
        let mut export = [name(as_name), vec![0]].concat();
        push_number(&mut export, (self.imports.len() as u64) + 1);
        self.exports.push(export);
    }

    /// Ends with a custom section of so many bytes.
    pub(crate) fn pad(&mut self, bytes: usize) {
        self.custom_bytes = bytes;
    }

    pub(crate) fn encode(mut self) -> Vec<u8> {
        let imported = self.imports.len() as u64;
        let own = [KIND_TYPE, NOTHING_TYPE, ALLOC_TYPE];
        let own_exports = ["thalweg_map", "thalweg_abi_v1", "thalweg_alloc"];
        self.exports
            .extend(own_exports.iter().zip(0..).map(|(export, index)| {
                let mut export = [name(export), vec![0]].concat();
                push_number(&mut export, imported + index);
                export
            }));
        self.exports.push([name("memory"), vec![2, 0]].concat());
        let functions = own.iter().chain(&self.functions).map(|&index| {
            let mut bytes = Vec::new();
            push_number(&mut bytes, index.into());
            bytes
        });
        let zero = [0x41, 0];
        // The buffer lies at 64 KiB: i32.const 65536.
        let buffer = [0x41, 0x80, 0x80, 0x04];
        let own_bodies = [body(&[], &zero), body(&[], &[]), body(&[], &buffer)];
        let functions: Vec<_> = functions.collect();

        let mut wasm = b"\0asm\x01\0\0\0".to_vec();
        push_section(&mut wasm, 1, &list(&self.types));
        if !self.imports.is_empty() {
            push_section(&mut wasm, 2, &list(&self.imports));
        }
        push_section(&mut wasm, 3, &list(&functions));
        push_section(&mut wasm, 5, &[1, 0, 8]);
        push_section(&mut wasm, 7, &list(&self.exports));
        let bodies: Vec<_> = own_bodies.into_iter().chain(self.bodies).collect();
        push_section(&mut wasm, 10, &list(&bodies));
        if self.custom_bytes > 0 {
            let mut custom = name("ballast");
            custom.resize(custom.len() + self.custom_bytes, 0);
            push_section(&mut wasm, 0, &custom);
        }
        wasm
    }
}

/// Appends an unsigned LEB128 number.
pub(crate) fn push_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn push_section(out: &mut Vec<u8>, id: u8, contents: &[u8]) {
    out.push(id);
    push_number(out, contents.len() as u64);
    out.extend_from_slice(contents);
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    push_number(&mut out, items.len() as u64);
    out.extend(items.iter().flatten());
    out
}

fn name(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    push_number(&mut out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
    out
}

fn body(locals: &[(u32, u8)], code: &[u8]) -> Vec<u8> {
    let mut contents = Vec::new();
    push_number(&mut contents, locals.len() as u64);
    for &(count, value_type) in locals {
        push_number(&mut contents, count.into());
        contents.push(value_type);
    }
    contents.extend(code.iter().copied().chain(iter::once(0x0b)));
    let mut out = Vec::new();
    push_number(&mut out, contents.len() as u64);
    out.extend(contents);
    out
}
