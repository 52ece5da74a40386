//! What it costs to be able to stop a guest: not at all, by wasmer's interrupter, or by counting its
//! instructions.
//!
//! Each runs the same filters over the same batch of 1 MiB, in a host that does no more than write
//! the input and call. Counting is given more than it can use, anew for each call.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]

mod support;

use std::hint::black_box;
use std::sync::Arc;

use thalweg_record::Batch;
use thalweg_smartmodule_abi::{INPUT_HEADER_BYTES, InputHeader, write_params};
use wasmer::sys::{CompilerConfig, Cranelift, Features, NativeEngineExt, Target};
use wasmer::{Function, Instance, Memory, Module, Store, TypedFunction, Value, imports};

use support::metering::{Metering, POINTS};
use support::{TEXT, Table, build, built, is_asked_for, wasm};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stop {
    Nothing,
    Interrupter,
    Metering,
}

/// A guest in the smallest of hosts.
struct Guest {
    store: Store,
    instance: Instance,
    memory: Memory,
    alloc: TypedFunction<u32, u32>,
    filter: TypedFunction<(u32, u32), u32>,
    stop: Stop,
}

impl Guest {
    fn open(wasm: &[u8], params: &[(&str, &str)], stop: Stop) -> Self {
        let mut compiler = Cranelift::new();
        if stop == Stop::Metering {
            compiler.push_middleware(Arc::new(Metering::default()));
        }
        let compiler: Box<dyn CompilerConfig> = Box::new(compiler);
        let engine = wasmer::Engine::new(compiler, Target::default(), Features::new());
        let mut store = Store::new(engine);
        let module = Module::new(&store, wasm).unwrap();
        let log = Function::new_typed(&mut store, |_: i32, _: i32, _: i32| ());
        let panic = Function::new_typed(&mut store, |_: i32, _: i32| ());
        let imports = imports! { "thalweg" => { "log" => log, "panic" => panic } };
        let instance = Instance::new(&mut store, &module, &imports).unwrap();
        let exports = &instance.exports;
        let mut guest = Self {
            memory: exports.get_memory("memory").unwrap().clone(),
            alloc: exports.get_typed_function(&store, "thalweg_alloc").unwrap(),
            filter: exports
                .get_typed_function(&store, "thalweg_filter")
                .unwrap(),
            store,
            instance,
            stop,
        };
        guest.init(params);
        guest
    }

    fn init(&mut self, params: &[(&str, &str)]) {
        let exports = &self.instance.exports;
        if let Ok(init) = exports.get_typed_function::<(u32, u32), u32>(&self.store, "thalweg_init")
        {
            let params = write_params(params.iter().copied());
            let address = self.write(&[&params]);
            init.call(&mut self.store, address, params.len() as u32)
                .unwrap();
        }
    }

    fn write(&mut self, parts: &[&[u8]]) -> u32 {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        let address = self.alloc.call(&mut self.store, bytes as u32).unwrap();
        let view = self.memory.view(&self.store);
        let mut at = u64::from(address);
        for part in parts {
            view.write(at, part).unwrap();
            at += part.len() as u64;
        }
        address
    }

    fn run(&mut self, batch: &Batch<'_>) -> u32 {
        let section = batch.records_bytes();
        let header = InputHeader {
            record_count: batch.header().record_count as u32,
            records_position: INPUT_HEADER_BYTES as u32,
            records_bytes: section.len() as u32,
            ..InputHeader::default()
        };
        match self.stop {
            Stop::Nothing => {}
            Stop::Interrupter => {
                black_box(self.store.interrupter());
            }
            Stop::Metering => {
                let points = self.instance.exports.get_global(POINTS).unwrap();
                points.set(&mut self.store, Value::I64(i64::MAX)).unwrap();
            }
        }
        let address = self.write(&[&header.encode(), section]);
        let bytes = INPUT_HEADER_BYTES + section.len();
        self.filter
            .call(&mut self.store, address, bytes as u32)
            .unwrap()
    }
}

fn main() {
    let directory = built();
    let text = std::str::from_utf8(TEXT).unwrap();
    for value_bytes in [100, 1024] {
        let bytes = build(value_bytes);
        let batch = Batch::parse(&bytes).unwrap();
        for name in ["moody", "contains"] {
            let row = format!("{name}, {value_bytes} B");
            if !is_asked_for(&row) {
                continue;
            }
            let wasm = wasm(&directory, name);
            let open = |stop| Guest::open(&wasm, &[("text", text)], stop);
            let mut bare = open(Stop::Nothing);
            let mut interrupter = open(Stop::Interrupter);
            let mut metering = open(Stop::Metering);
            Table::new(bytes.len())
                .way("nothing", || {
                    black_box(bare.run(&batch));
                })
                .way("interrupter", || {
                    black_box(interrupter.run(&batch));
                })
                .way("metering", || {
                    black_box(metering.run(&batch));
                })
                .print(&row);
        }
    }
}
