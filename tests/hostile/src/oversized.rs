//! Modules with too much of something, and bytes that are no module.

use anyhow::Result;

use crate::encoder::{I32, I64, Module, NOTHING_TYPE};
use crate::{HostileModule, honest};

pub(crate) fn modules() -> Result<Vec<HostileModule>> {
    let honest = honest()?;
    let cut = honest[..honest.len() / 2].to_vec();
    let not_wasm = "not a WebAssembly module";
    let mut modules = vec![
        named("empty", Vec::new(), not_wasm),
        named("text", b"no wasm\n".to_vec(), not_wasm),
        named("magic_alone", b"\0asm".to_vec(), not_wasm),
        named(
            "noise_behind_the_magic",
            [b"\0asm\x01\0\0\0".as_slice(), &[0xff; 64]].concat(),
            not_wasm,
        ),
        named("cut_in_half", cut, not_wasm),
        named(
            "component",
            b"\0asm\x0d\0\x01\0".to_vec(),
            "a WebAssembly component",
        ),
    ];
    modules.extend(too_much());
    Ok(modules)
}

fn too_much() -> Vec<HostileModule> {
    let built = |name, expect, build: &dyn Fn(&mut Module)| {
        let mut module = Module::new();
        build(&mut module);
        named(name, module.encode(), expect)
    };
    vec![
        built("hundred_megabytes", "more than the", &|module| {
            module.pad(100 << 20);
        }),
        built("forty_megabytes", "bytes, more than the", &|module| {
            module.pad(40 << 20);
        }),
        built(
            "thousands_of_exports",
            "exports, more than the",
            &|module| {
                (0..5_000).for_each(|index| module.export_again(&format!("export_{index}")));
            },
        ),
        built(
            "thousands_of_imports",
            "imports, more than the",
            &|module| {
                (0..5_000).for_each(|_| module.import_panic());
            },
        ),
        built("thousands_of_types", "types, more than the", &|module| {
            (0..20_000).for_each(|_| {
                module.add_type(&[], &[]);
            });
        }),
        built(
            "thousands_of_functions",
            "functions, more than the",
            &|module| {
                (0..60_000).for_each(|_| module.add_function(NOTHING_TYPE, &[], &[]));
            },
        ),
        built("thousands_of_locals", "local variables in", &|module| {
            module.add_function(NOTHING_TYPE, &[(20_000, I64)], &[]);
        }),
        built("millions_of_locals", "local variables in all", &|module| {
            // Half a megabyte, and four hundred million variables to be set to 0.
            for _ in 0..40_000 {
                module.add_function(NOTHING_TYPE, &[(10_000, I64)], &[]);
            }
        }),
        built(
            "millions_of_parameters",
            "parameters and results of types",
            &|module| {
                (0..7_500).for_each(|index| add_long_type(module, index));
            },
        ),
        built("billions_of_locals", "local", &|module| {
            module.add_function(NOTHING_TYPE, &[(u32::MAX, I64)], &[]);
        }),
        built(
            "function_of_a_megabyte",
            "bytes of code in one",
            &|module| {
                module.add_function(NOTHING_TYPE, &[], &vec![0x01; 1 << 20]);
            },
        ),
    ]
}

/// Adds a type of a thousand parameters. No two are alike: the number stands in their types.
fn add_long_type(module: &mut Module, number: usize) {
    let params: Vec<_> = (0..1_000)
        .map(|bit| {
            if bit < 16 && number >> bit & 1 == 1 {
                I32
            } else {
                I64
            }
        })
        .collect();
    module.add_type(&params, &[]);
}

fn named(name: &str, wasm: Vec<u8>, expect: &str) -> HostileModule {
    HostileModule {
        name: name.to_owned(),
        wasm,
        expect: expect.to_owned(),
    }
}
