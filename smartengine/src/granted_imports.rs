//! The imports that only some transforms give their modules: tables, calls by HTTP, and keys and values of their own.
//!
//! What is not given answers that there is none. What a guest points to outside of its memory is as if it were not there.

use std::sync::atomic::Ordering;

use thalweg_smartmodule_abi as abi;
use thalweg_types::Offset;
use wasmer::{AsStoreMut, Function, FunctionEnv, FunctionEnvMut, Imports, MemoryView};

use crate::host_imports::{HostState, view};
use crate::{Call, Called};

/// The longest name of a table: a topic's.
const TABLE_NAME_BYTES_MAX: usize = 249;
/// A longer key is copied to the heap.
const SHORT_KEY_BYTES: usize = 256;
/// The longest request by HTTP, in bytes.
const REQUEST_BYTES_MAX: u32 = 1 << 20;
/// The most that a record may change of what its module keeps, in bytes.
const ENTRIES_BYTES_MAX: u32 = 4 << 20;

pub(crate) fn offer(
    store: &mut impl AsStoreMut,
    state: &FunctionEnv<HostState>,
    imports: &mut Imports,
) {
    let module = abi::IMPORT_MODULE;
    let function = Function::new_typed_with_env(store, state, table_get);
    imports.define(module, abi::IMPORT_TABLE_GET, function);
    let function = Function::new_typed_with_env(store, state, http_call);
    imports.define(module, abi::IMPORT_HTTP_CALL, function);
    let function = Function::new_typed_with_env(store, state, key_value_get);
    imports.define(module, abi::IMPORT_KEY_VALUE_GET, function);
    let function = Function::new_typed_with_env(store, state, key_value_put);
    imports.define(module, abi::IMPORT_KEY_VALUE_PUT, function);
}

fn table_get(
    env: FunctionEnvMut<'_, HostState>,
    name: u32,
    name_bytes: u32,
    key: u32,
    key_bytes: u32,
    value: u32,
    capacity: u32,
) -> i64 {
    let (Some(tables), Some(view)) = (&env.data().services.offered.tables, view(&env)) else {
        return abi::NO_SUCH_TABLE;
    };
    let mut name_place = [0; TABLE_NAME_BYTES_MAX];
    let name_place = name_place.get_mut(..name_bytes as usize);
    let name = name_place.and_then(|place| {
        view.read(name.into(), place).ok()?;
        std::str::from_utf8(place).ok()
    });
    let Some(name) = name else {
        return abi::NO_SUCH_TABLE;
    };
    let mut answer = abi::NO_SUCH_KEY;
    with_key(&view, key, key_bytes, |key| {
        let is_there = tables.look_up(name, key, &mut |found| {
            answer = hand_over(&view, found, value, capacity, abi::NO_SUCH_KEY);
        });
        if !is_there {
            answer = abi::NO_SUCH_TABLE;
        }
    });
    answer
}

fn http_call(
    env: FunctionEnvMut<'_, HostState>,
    offset: i64,
    number: u32,
    request: u32,
    request_bytes: u32,
    answer: u32,
    capacity: u32,
) -> i64 {
    let state = env.data();
    let Some(view) = view(&env) else {
        return 0;
    };
    let give = |text: &[u8]| hand_over(&view, text, answer, capacity, 0);
    let Some(calls) = &state.services.offered.calls else {
        return give(
            b"0\n\nthe module may make no HTTP requests here: run it in a transform, deployed with `--allow-http`",
        );
    };
    if request_bytes > REQUEST_BYTES_MAX {
        return give(b"0\n\nthe request is longer than 1 MiB");
    }
    let mut text = vec![0; request_bytes as usize];
    if view.read(request.into(), &mut text).is_err() {
        return give(b"0\n\nthe request does not lie in memory");
    }
    let call = Call {
        step: &state.step,
        offset: Offset(offset),
        number,
        request: &text,
    };
    let mut given = 0;
    match calls.call(call, &mut |text| given = give(text)) {
        Called::Answered => given,
        Called::Waits => {
            state.services.waits.store(true, Ordering::Relaxed);
            abi::HTTP_WAITS
        }
    }
}

fn key_value_get(
    env: FunctionEnvMut<'_, HostState>,
    key: u32,
    key_bytes: u32,
    value: u32,
    capacity: u32,
) -> i64 {
    let state = env.data();
    let (Some(kept), Some(view)) = (&state.services.key_values, view(&env)) else {
        return abi::NO_KEY_VALUE.into();
    };
    let mut answer = abi::NO_SUCH_KEY;
    with_key(&view, key, key_bytes, |key| {
        kept.get(&state.step, key, |found| {
            answer = hand_over(&view, found, value, capacity, abi::NO_SUCH_KEY);
        });
    });
    answer
}

fn key_value_put(
    env: FunctionEnvMut<'_, HostState>,
    offset: i64,
    entries: u32,
    entries_bytes: u32,
) -> i32 {
    let state = env.data();
    let (Some(kept), Some(view)) = (&state.services.key_values, view(&env)) else {
        return abi::NO_KEY_VALUE;
    };
    if entries_bytes > ENTRIES_BYTES_MAX || offset < 0 {
        return abi::KEY_VALUE_INVALID;
    }
    let mut bytes = vec![0; entries_bytes as usize];
    if view.read(entries.into(), &mut bytes).is_err() {
        return abi::KEY_VALUE_INVALID;
    }
    let Some(entries) = read_entries(&bytes) else {
        return abi::KEY_VALUE_INVALID;
    };
    match kept.put(&state.step, Offset(offset), entries.into_iter()) {
        Ok(()) => abi::KEY_VALUE_PUT,
        Err(_) => abi::KEY_VALUE_FULL,
    }
}

/// A key with its new value, if it has one.
type Entry<'a> = (&'a [u8], Option<&'a [u8]>);

/// Keys with their new values; `None` where they are malformed.
fn read_entries(mut bytes: &[u8]) -> Option<Vec<Entry<'_>>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (key_bytes, rest) = bytes.split_first_chunk()?;
        let (value_bytes, rest) = rest.split_first_chunk()?;
        let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*key_bytes) as usize)?;
        let value_bytes = u32::from_le_bytes(*value_bytes);
        if value_bytes == abi::REMOVED {
            entries.push((key, None));
            bytes = rest;
        } else {
            let (value, rest) = rest.split_at_checked(value_bytes as usize)?;
            entries.push((key, Some(value)));
            bytes = rest;
        }
    }
    Some(entries)
}

/// Copies `found` to the guest where it fits; how long it is, or `outside` where its place does not lie in memory,
/// which is the guest's own fault.
fn hand_over(view: &MemoryView<'_>, found: &[u8], place: u32, capacity: u32, outside: i64) -> i64 {
    let fits = found.len() <= capacity as usize;
    if fits && view.write(place.into(), found).is_err() {
        return outside;
    }
    i64::try_from(found.len()).unwrap_or(outside)
}

/// Has `then` use a key that lies in the guest's memory, if it does.
fn with_key(view: &MemoryView<'_>, key: u32, key_bytes: u32, then: impl FnOnce(&[u8])) {
    let mut short = [0; SHORT_KEY_BYTES];
    let mut long;
    let place = match short.get_mut(..key_bytes as usize) {
        Some(place) => place,
        // It lies in the guest's memory, so there is room for a copy.
        None if u64::from(key_bytes) <= view.data_size() => {
            long = vec![0; key_bytes as usize];
            &mut long
        }
        None => return,
    };
    if view.read(key.into(), place).is_ok() {
        then(place);
    }
}
