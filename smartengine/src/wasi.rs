//! The part of WASI preview 1 that a module built for `wasm32-wasip1` may lean on.
//!
//! Standard output and error go to the host's log, clocks and random bytes are real, arguments and
//! environment are empty, and every file descriptor but those two is closed. Enough for what the
//! standard libraries of Rust, C, Go and AssemblyScript import without being asked; no files and
//! no network.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use thalweg_smartmodule_abi as abi;
use thalweg_smartmodule_inspect::WASI_MODULE;
use wasmer::{AsStoreMut, Function, FunctionEnv, FunctionEnvMut, Imports, RuntimeError};

use crate::deadline::now;
use crate::host_imports::{HostState, TEXT_BYTES_MAX, read_text, view};

/// WASI's error numbers.
const SUCCESS: i32 = 0;
const BADF: i32 = 8;
const FAULT: i32 = 21;
const INVAL: i32 = 28;
/// The descriptors that go to the host's log.
const STDOUT: i32 = 1;
const STDERR: i32 = 2;
/// How many buffers one write may have; more are for the next write.
const IOVECS_MAX: u32 = 16;
/// How many random bytes one call gives at most; standard libraries ask for 16 or 32.
const RANDOM_BYTES_MAX: u32 = 64 << 10;

type Env<'a> = FunctionEnvMut<'a, HostState>;

/// Adds what a module may import of WASI to `imports`.
pub(crate) fn offer(
    store: &mut impl AsStoreMut,
    state: &FunctionEnv<HostState>,
    imports: &mut Imports,
) {
    macro_rules! define {
        ($($name:literal => $function:expr),* $(,)?) => {
            $(
                let function = Function::new_typed_with_env(store, state, $function);
                imports.define(WASI_MODULE, $name, function);
            )*
        };
    }
    define! {
        "proc_exit" => proc_exit,
        "sched_yield" => |_: Env<'_>| SUCCESS,
        "args_get" => |_: Env<'_>, _: u32, _: u32| SUCCESS,
        "args_sizes_get" => no_strings,
        "environ_get" => |_: Env<'_>, _: u32, _: u32| SUCCESS,
        "environ_sizes_get" => no_strings,
        "random_get" => random_get,
        "clock_res_get" => |env: Env<'_>, _: i32, out: u32| write(&env, out, &1_u64.to_le_bytes()),
        "clock_time_get" => clock_time_get,
        "fd_write" => fd_write,
        "fd_read" => |_: Env<'_>, _: i32, _: u32, _: u32, _: u32| BADF,
        "fd_close" => |_: Env<'_>, _: i32| BADF,
        "fd_seek" => |_: Env<'_>, _: i32, _: i64, _: i32, _: u32| BADF,
        "fd_fdstat_get" => |_: Env<'_>, _: i32, _: u32| BADF,
        "fd_fdstat_set_flags" => |_: Env<'_>, _: i32, _: i32| BADF,
        "fd_prestat_get" => |_: Env<'_>, _: i32, _: u32| BADF,
        "fd_prestat_dir_name" => |_: Env<'_>, _: i32, _: u32, _: u32| BADF,
        // A guest that sleeps would hold its thread, so nothing can be waited for.
        "poll_oneoff" => |_: Env<'_>, _: u32, _: u32, _: u32, _: u32| INVAL,
    }
}

fn proc_exit(env: Env<'_>, code: i32) -> Result<(), RuntimeError> {
    let mut message = format!("the guest exited with code {code}");
    // Go's runtime writes why it gives up, then exits.
    let said = env.data().last_error.trim();
    if !said.is_empty() {
        message += ": ";
        message += said;
    }
    Err(RuntimeError::new(message))
}

fn no_strings(env: Env<'_>, count: u32, bytes: u32) -> i32 {
    match write(&env, count, &[0; 4]) {
        SUCCESS => write(&env, bytes, &[0; 4]),
        error => error,
    }
}

fn random_get(env: Env<'_>, address: u32, bytes: u32) -> i32 {
    if bytes > RANDOM_BYTES_MAX {
        return INVAL;
    }
    // Guests ask for random bytes to seed their hash maps. The standard library's own seeds serve
    // for that, and none of the process's secrets hang on them.
    let mut random = Vec::with_capacity(bytes as usize + 8);
    while random.len() < bytes as usize {
        let seeded = RandomState::new().build_hasher().finish();
        random.extend_from_slice(&seeded.to_le_bytes());
    }
    write(&env, address, &random[..bytes as usize])
}

#[expect(
    clippy::disallowed_methods,
    reason = "a guest's clock is the machine's; replays that need another give it in parameters"
)]
fn clock_time_get(env: Env<'_>, clock: i32, _precision: i64, out: u32) -> i32 {
    static STARTED: OnceLock<Instant> = OnceLock::new();
    let elapsed = match clock {
        0 => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default(),
        1 => now().duration_since(*STARTED.get_or_init(now)),
        _ => return INVAL,
    };
    let elapsed_ns = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
    write(&env, out, &elapsed_ns.to_le_bytes())
}

fn fd_write(mut env: Env<'_>, descriptor: i32, iovecs: u32, count: u32, written: u32) -> i32 {
    if !matches!(descriptor, STDOUT | STDERR) {
        return BADF;
    }
    let mut text = String::new();
    let mut written_bytes = 0_u32;
    for index in 0..count.min(IOVECS_MAX) {
        let Some((address, bytes)) = read_iovec(&env, iovecs, index) else {
            return FAULT;
        };
        let Some(part) = read_text(&env, address, bytes) else {
            return FAULT;
        };
        text.push_str(&part);
        written_bytes = written_bytes.saturating_add(bytes);
    }
    let level = if descriptor == STDOUT {
        abi::LOG_INFO
    } else {
        abi::LOG_WARN
    };
    let state = env.data_mut();
    state.log_lines(level, &text);
    if descriptor == STDERR {
        keep_error(&mut state.last_error, &text);
    }
    write(&env, written, &written_bytes.to_le_bytes())
}

/// Appends to what was written before, and forgets the end of what grows too long: a reason comes
/// first, and where in the code behind it.
fn keep_error(last_error: &mut String, text: &str) {
    let room = (TEXT_BYTES_MAX as usize).saturating_sub(last_error.len());
    let end = text.floor_char_boundary(room.min(text.len()));
    last_error.push_str(&text[..end]);
}

fn read_iovec(env: &Env<'_>, iovecs: u32, index: u32) -> Option<(u32, u32)> {
    let mut iovec = [0; 8];
    let address = u64::from(iovecs) + u64::from(index) * 8;
    view(env)?.read(address, &mut iovec).ok()?;
    let (address, bytes) = iovec.split_first_chunk::<4>()?;
    let bytes = bytes.first_chunk::<4>()?;
    Some((u32::from_le_bytes(*address), u32::from_le_bytes(*bytes)))
}

fn write(env: &Env<'_>, address: u32, bytes: &[u8]) -> i32 {
    match view(env).map(|view| view.write(address.into(), bytes)) {
        Some(Ok(())) => SUCCESS,
        _ => FAULT,
    }
}
