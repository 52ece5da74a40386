//! Modules that keep to the bounds on their structure and are made to burden the compiler: its time,
//! its memory and its stack.

use crate::HostileModule;
use crate::encoder::{I64, Module, NOTHING_TYPE, OWN_FUNCTIONS, push_number};

/// The largest function that is taken, less some room.
const FUNCTION_BYTES: usize = 125 * 1024;
/// As many of them as a module may hold.
const FUNCTIONS: usize = 60;

// Instructions.
const BLOCK: u8 = 0x02;
const LOOP: u8 = 0x03;
const IF: u8 = 0x04;
const END: u8 = 0x0b;
const BR_IF: u8 = 0x0d;
const BR_TABLE: u8 = 0x0e;
const CALL: u8 = 0x10;
const DROP: u8 = 0x1a;
const LOCAL_GET: u8 = 0x20;
const LOCAL_SET: u8 = 0x21;
const I32_CONST: u8 = 0x41;
const I64_CONST: u8 = 0x42;
const I64_ADD: u8 = 0x7c;
const I64_MUL: u8 = 0x7e;
/// A block that takes and gives nothing.
const EMPTY: u8 = 0x40;

/// Adds what a bomb is made of.
type Build = fn(&mut Module);

pub(crate) fn modules() -> Vec<HostileModule> {
    let bombs: [(&str, Build); 8] = [
        ("bomb_of_nesting", nesting),
        ("bomb_of_ifs", ifs),
        ("bomb_of_branch_tables", branch_tables),
        ("bomb_of_loops", loops),
        ("bomb_of_arithmetic", arithmetic),
        ("bomb_of_a_deep_expression", deep_expression),
        ("bomb_of_arguments", arguments),
        ("bomb_of_locals", locals),
    ];
    bombs
        .into_iter()
        .map(|(name, build)| {
            let mut module = Module::new();
            build(&mut module);
            HostileModule {
                name: name.to_owned(),
                wasm: module.encode(),
                expect: String::new(),
            }
        })
        .collect()
}

/// As many local variables as a module may have, each of which is to be set to 0.
fn locals(module: &mut Module) {
    for _ in 0..99 {
        module.add_function(NOTHING_TYPE, &[(10_000, I64)], &[]);
    }
}

/// Blocks in blocks, as deep as a function is long.
fn nesting(module: &mut Module) {
    let depth = FUNCTION_BYTES / 3;
    let mut code = [BLOCK, EMPTY].repeat(depth);
    code.extend(vec![END; depth]);
    for _ in 0..FUNCTIONS / 2 {
        module.add_function(NOTHING_TYPE, &[], &code);
    }
}

/// Conditions in conditions.
fn ifs(module: &mut Module) {
    let depth = FUNCTION_BYTES / 5;
    let mut code = [I32_CONST, 1, IF, EMPTY].repeat(depth);
    code.extend(vec![END; depth]);
    for _ in 0..FUNCTIONS / 2 {
        module.add_function(NOTHING_TYPE, &[], &code);
    }
}

/// Tables of branches to a thousand blocks, over and over.
fn branch_tables(module: &mut Module) {
    const DEPTH: usize = 1_000;
    let mut code = [BLOCK, EMPTY].repeat(DEPTH);
    let mut table = vec![I32_CONST, 1, BR_TABLE];
    push_number(&mut table, DEPTH as u64);
    (0..=DEPTH).for_each(|target| push_number(&mut table, target as u64));
    while code.len() + table.len() + 10 + DEPTH < FUNCTION_BYTES {
        // What follows a branch is dead, so each stands in a condition of its own.
        code.extend([I32_CONST, 1, IF, EMPTY]);
        code.extend(&table);
        code.push(END);
    }
    code.extend(vec![END; DEPTH]);
    for _ in 0..FUNCTIONS {
        module.add_function(NOTHING_TYPE, &[], &code);
    }
}

/// A thousand variables, all changed within each of many loops.
fn loops(module: &mut Module) {
    const LOCALS: u32 = 1_000;
    let mut code = Vec::new();
    let mut round = vec![LOOP, EMPTY];
    for local in 0..LOCALS {
        round.push(LOCAL_GET);
        push_number(&mut round, local.into());
        round.push(LOCAL_GET);
        push_number(&mut round, ((local * 7 + 1) % LOCALS).into());
        round.extend([I64_ADD, LOCAL_SET]);
        push_number(&mut round, local.into());
    }
    round.extend([I32_CONST, 0, BR_IF, 0]);
    // Loops within loops, so that each variable is carried through all of them.
    let rounds = FUNCTION_BYTES / (round.len() + 1);
    (0..rounds).for_each(|_| code.extend(&round));
    code.extend(vec![END; rounds]);
    for _ in 0..FUNCTIONS {
        module.add_function(NOTHING_TYPE, &[(LOCALS, I64)], &code);
    }
}

/// Megabytes of sums and products of variables that all stay alive.
fn arithmetic(module: &mut Module) {
    let sum = module.add_type(&[I64, I64], &[I64]);
    let mut code = Vec::new();
    let mut local = 0_u32;
    while code.len() < FUNCTION_BYTES {
        for operand in [local, local / 2 + 1, local / 3 + 2] {
            code.push(LOCAL_GET);
            push_number(&mut code, u64::from(operand % 500));
        }
        code.extend([I64_MUL, I64_ADD, LOCAL_SET]);
        push_number(&mut code, u64::from((local * 31 + 17) % 500));
        local = local.wrapping_add(1) % 1_000_000;
    }
    // All of them make up the result, so that none can be left out.
    code.extend([I64_CONST, 0]);
    for local in 0..500 {
        code.push(LOCAL_GET);
        push_number(&mut code, local);
        code.push(I64_ADD);
    }
    for _ in 0..FUNCTIONS {
        module.add_function(sum, &[(500, I64)], &code);
    }
}

/// One sum of a hundred thousand terms, each of which waits for the one behind it.
fn deep_expression(module: &mut Module) {
    let terms = FUNCTION_BYTES / 3;
    let mut code = [LOCAL_GET, 0].repeat(terms);
    code.extend(vec![I64_ADD; terms - 1]);
    code.push(DROP);
    let mut powers = [I64_CONST, 3].repeat(terms);
    powers.extend(vec![I64_MUL; terms - 1]);
    powers.push(DROP);
    for _ in 0..FUNCTIONS / 2 {
        module.add_function(NOTHING_TYPE, &[(1, I64)], &code);
        module.add_function(NOTHING_TYPE, &[(1, I64)], &powers);
    }
}

/// Calls with a thousand arguments.
fn arguments(module: &mut Module) {
    let many = module.add_type(&[I64; 1_000], &[]);
    module.add_function(many, &[], &[]);
    let mut call = [LOCAL_GET, 0].repeat(1_000);
    call.extend([CALL, OWN_FUNCTIONS as u8]);
    let code = call.repeat(FUNCTION_BYTES / call.len());
    for _ in 0..FUNCTIONS {
        module.add_function(NOTHING_TYPE, &[(1, I64)], &code);
    }
}
