//! One instance of a module, entered under a deadline and trusted in nothing.
//!
//! A [`Guest`] belongs to one step of one chain. The input is copied once into a buffer that the
//! guest allocated and that is reused; the output is copied once out of the guest's memory. Several
//! calls may be given parts of the same records, which then stay where they are. After any
//! [`Fault`] the owner drops the guest.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use thalweg_smartmodule_abi::{
    self as abi, ANSWER_BYTES, Answer, INPUT_HEADER_BYTES, InputHeader, STATUS_FAILED, STATUS_OK,
    STATUS_RECORD_FAILED,
};
use thalweg_smartmodule_inspect::kind_export;
use wasmer::sys::NativeEngineExt;
use wasmer::{
    FunctionEnv, Instance, InstantiationError, Memory, RuntimeError, Store, TypedFunction,
};
use wasmer_types::TrapCode;

use crate::deadline::{Deadlines, Late, Lateness, TimeLimit};
use crate::guest_memory::{GuestTunables, MemoryBound, MemoryRefusal, SharedMemory};
use crate::host_code::interrupts_only_guests;
use crate::host_imports::{self, HostState, printable};
use crate::module::Conduct;
use crate::{CallLimits, SmartModule, SmartModuleKind};

/// The longest error text that is taken from a guest.
const MESSAGE_BYTES_MAX: u32 = 4096;
/// Input buffers grow in steps of this many bytes, so that batches of similar size share one.
const INPUT_STEP_BYTES: u64 = 64 << 10;

type Entry = TypedFunction<(u32, u32), u32>;

/// Why a call into a guest did not give an answer. The instance is lost.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It ran for too long.
    Deadline,
    /// Others took the processor from it, for so long by the clock.
    Starved(Duration),
    /// It could not get the memory it asked for, by its own bound or that of all guests.
    Memory(MemoryBound),
    /// Its output has more bytes than this.
    Output(usize),
    /// It trapped; a panic's message, or the trap's.
    Trapped(String),
    /// What it answered breaks the ABI.
    Garbage(String),
    /// It could not be instantiated.
    Instantiate(String),
}

/// What all guests of an engine share.
pub(crate) struct GuestHost {
    pub(crate) compiler: wasmer::Engine,
    pub(crate) deadlines: Arc<Deadlines>,
    pub(crate) memory: Arc<SharedMemory>,
}

/// What a guest answered, checked and copied out of its memory.
#[derive(Debug)]
pub(crate) struct Answered {
    /// How many of the input records were dealt with.
    pub(crate) consumed_count: usize,
    /// Where in the buffer for it the output stands: a filter's bitmap, or the records of another
    /// kind.
    pub(crate) output: Range<usize>,
    /// How many records the output holds or keeps.
    pub(crate) output_count: usize,
    /// What went wrong, if anything did.
    pub(crate) failure: Option<Failure>,
}

/// An error that a guest answered with.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The record behind the consumed ones failed.
    Record(String),
    /// The call failed as a whole.
    Call(String),
}

/// What one call is given: a part of some records, which stand in the guest's buffer as a whole.
#[derive(Debug, Clone)]
pub(crate) struct Given<'a> {
    /// All the records.
    pub(crate) section: &'a [u8],
    /// Whether an earlier call has put them in the buffer, and nothing else was put there since.
    pub(crate) is_in_place: bool,
    /// Those that the call is about, in bytes.
    pub(crate) range: Range<usize>,
    /// How many they are.
    pub(crate) record_count: usize,
    /// What an aggregate goes on from: one accumulator, or the groups of the records with theirs.
    pub(crate) accumulator: &'a [u8],
    /// How many groups those are; 0 for one accumulator.
    pub(crate) group_count: usize,
}

/// What a guest is called for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// Its kind.
    Records,
    /// Its kind, an aggregate, with records of many groups.
    Groups,
    /// To be shown records of before the stream's start.
    LookBack,
}

/// A running instance of a module.
pub(crate) struct Guest {
    store: Store,
    alloc: TypedFunction<u32, u32>,
    call: Entry,
    init: Option<Entry>,
    look_back: Option<Entry>,
    groups: Option<Entry>,
    memory: Memory,
    state: FunctionEnv<HostState>,
    refusal: MemoryRefusal,
    lateness: Lateness,
    deadlines: Arc<Deadlines>,
    conduct: Arc<Conduct>,
    limits: CallLimits,
    input: InputBuffer,
}

// SAFETY: all that a guest points to (instance, memory, tables, globals, host state) belongs to its
// own store and is reached through `&mut Guest` alone, so it moves to another thread as a whole.
// `Store` is not `Send` by itself because an embedder may put closures and environments into it
// that are not; ours ([`HostState`], the refusal flag) are. What wasmer keeps for each thread (the
// trap handler, the stack of active stores) it sets up and takes down within every call.
unsafe impl Send for Guest {}

/// The buffer that the guest allocated last.
#[derive(Default, Clone, Copy)]
struct InputBuffer {
    address: u32,
    capacity: u32,
}

impl Guest {
    /// Instantiates `module`, which runs its start function. The host keeps `state` for it.
    pub(crate) fn open(
        host: &GuestHost,
        module: &SmartModule,
        state: HostState,
        limits: CallLimits,
    ) -> Result<Self, Fault> {
        let refusal = MemoryRefusal::default();
        let lateness = Lateness::default();
        let mut engine = host.compiler.clone();
        engine.set_tunables(GuestTunables::new(
            limits.memory_bytes,
            refusal.clone(),
            lateness.clone(),
            Arc::clone(&host.memory),
        ));
        let mut store = Store::new(engine);
        store.set_trap_handler(Some(interrupts_only_guests()));
        let state = FunctionEnv::new(&mut store, state);
        let imports = host_imports::offer(&mut store, &state);

        let deadlines = &host.deadlines;
        let watch = deadlines.watch(store.interrupter(), &lateness, time_limit(&limits));
        let opened = Instance::new(&mut store, &module.compiled, &imports)
            .map_err(|error| Opening::Instance(Box::new(error)))
            .and_then(|instance| {
                let memory = instance.exports.get_memory(abi::EXPORT_MEMORY)?.clone();
                state.as_mut(&mut store).memory = Some(memory);
                initialize(&instance, &mut store)?;
                Ok(instance)
            });
        if let Some(late) = watch.end() {
            return Err(late_fault(late, module.conduct()));
        }
        let instance = opened.map_err(|error| error.into_fault(&refusal, &state, &mut store))?;

        let garbage = |error: wasmer::ExportError| Fault::Garbage(error.to_string());
        let exports = &instance.exports;
        Ok(Self {
            alloc: exports
                .get_typed_function(&store, abi::EXPORT_ALLOC)
                .map_err(garbage)?,
            call: exports
                .get_typed_function(&store, kind_export(module.kind()))
                .map_err(garbage)?,
            init: exports.get_typed_function(&store, abi::EXPORT_INIT).ok(),
            look_back: exports
                .get_typed_function(&store, abi::EXPORT_LOOK_BACK)
                .ok(),
            groups: exports
                .get_typed_function(&store, abi::EXPORT_AGGREGATE_GROUPS)
                .ok()
                .filter(|_| module.kind() == SmartModuleKind::Aggregate),
            memory: exports
                .get_memory(abi::EXPORT_MEMORY)
                .map_err(garbage)?
                .clone(),
            store,
            state,
            refusal,
            lateness,
            deadlines: Arc::clone(&host.deadlines),
            conduct: Arc::clone(module.conduct()),
            limits,
            input: InputBuffer::default(),
        })
    }

    /// How large its linear memory is, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory.view(&self.store).data_size()
    }

    /// Whether the module takes parameters at all.
    pub(crate) fn has_init(&self) -> bool {
        self.init.is_some()
    }

    /// Whether the module can be shown records of before the stream's start.
    pub(crate) fn looks_back(&self) -> bool {
        self.look_back.is_some()
    }

    /// Whether the module is an aggregate that can be given the records of many groups in a call.
    pub(crate) fn takes_groups(&self) -> bool {
        self.groups.is_some()
    }

    /// Runs `init` with encoded parameters; the inner error is the guest's.
    pub(crate) fn init(&mut self, params: &[u8]) -> Result<Result<(), String>, Fault> {
        let Some(init) = self.init.clone() else {
            return Ok(Ok(()));
        };
        let place = |guest: &mut Self| guest.write_input(&[params]);
        let answered = self.enter(&init, place, 0, &mut Vec::new())?;
        Ok(match answered.failure {
            None => Ok(()),
            Some(Failure::Record(message) | Failure::Call(message)) => Err(message),
        })
    }

    /// Puts records through the module, and appends to `output` what it answers with.
    ///
    /// The positions, lengths and count of `header` are filled in here.
    pub(crate) fn call(
        &mut self,
        purpose: Purpose,
        header: InputHeader,
        given: &Given<'_>,
        output: &mut Vec<u8>,
    ) -> Result<Answered, Fault> {
        let other = match purpose {
            Purpose::Records => None,
            Purpose::Groups => self.groups.as_ref(),
            Purpose::LookBack => self.look_back.as_ref(),
        };
        let entry = other.unwrap_or(&self.call).clone();
        let number =
            |number: usize| u32::try_from(number).map_err(|_| Fault::Memory(MemoryBound::Own));
        let header = InputHeader {
            record_count: number(given.record_count)?,
            records_position: number(INPUT_HEADER_BYTES + given.range.start)?,
            records_bytes: number(given.range.len())?,
            accumulator_position: number(INPUT_HEADER_BYTES + given.section.len())?,
            accumulator_bytes: number(given.accumulator.len())?,
            group_count: number(given.group_count)?,
            ..header
        };
        let place = |guest: &mut Self| guest.place(&header, given);
        self.enter(&entry, place, header.record_count, output)
    }

    /// One call under one deadline: input in, answer out.
    fn enter(
        &mut self,
        entry: &Entry,
        place: impl FnOnce(&mut Self) -> Result<(u32, u32), Fault>,
        record_count: u32,
        output: &mut Vec<u8>,
    ) -> Result<Answered, Fault> {
        self.refusal.clear();
        self.state.as_mut(&mut self.store).last_error.clear();
        let watch = self.deadlines.watch(
            self.store.interrupter(),
            &self.lateness,
            time_limit(&self.limits),
        );
        let called = place(self).and_then(|(address, bytes)| {
            entry
                .call(&mut self.store, address, bytes)
                .map_err(|error| fault(&error, &self.refusal, &self.state, &mut self.store))
        });
        // A signal may still be under way to a store whose deadline passed, so that whatever it
        // answered, it is not entered again.
        if let Some(late) = watch.end() {
            return Err(late_fault(late, &self.conduct));
        }
        if record_count > 0 {
            self.conduct.note(false);
        }
        self.read_answer(called?, record_count, output)
    }

    /// Writes what a call is given, without what stands there already.
    fn place(&mut self, header: &InputHeader, given: &Given<'_>) -> Result<(u32, u32), Fault> {
        let header = header.encode();
        let behind = INPUT_HEADER_BYTES + given.section.len();
        let bytes = behind + given.accumulator.len();
        if !given.is_in_place || bytes as u64 > u64::from(self.input.capacity) {
            return self.write_input(&[&header, given.section, given.accumulator]);
        }
        let address = self.input.address as usize;
        let memory = self.memory_mut();
        for (at, part) in [(0, &header[..]), (behind, given.accumulator)] {
            memory
                .get_mut(address + at..)
                .and_then(|place| place.get_mut(..part.len()))
                .ok_or_else(outside)?
                .copy_from_slice(part);
        }
        let bytes = u32::try_from(bytes).map_err(|_| Fault::Memory(MemoryBound::Own))?;
        Ok((self.input.address, bytes))
    }

    fn memory(&self) -> &[u8] {
        let view = self.memory.view(&self.store);
        // SAFETY: the view gives the memory's whole extent, and no guest code that could change or
        // move it runs while the slice lives, as it borrows the store that running one takes
        // exclusively; guests have neither threads nor shared memories.
        unsafe { std::slice::from_raw_parts(view.data_ptr(), size_of(&view)) }
    }

    fn memory_mut(&mut self) -> &mut [u8] {
        let view = self.memory.view(&self.store);
        // SAFETY: as in `memory`; the exclusive borrow of the store keeps every other slice away.
        unsafe { std::slice::from_raw_parts_mut(view.data_ptr(), size_of(&view)) }
    }

    fn write_input(&mut self, parts: &[&[u8]]) -> Result<(u32, u32), Fault> {
        let bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
        if bytes > u64::from(self.input.capacity) || self.input.address == 0 {
            self.input = self.allocate(bytes)?;
        }
        let address = self.input.address as usize;
        let mut rest = self.memory_mut().get_mut(address..).ok_or_else(outside)?;
        for part in parts {
            let (place, behind) = rest.split_at_mut_checked(part.len()).ok_or_else(outside)?;
            place.copy_from_slice(part);
            rest = behind;
        }
        let bytes = u32::try_from(bytes).map_err(|_| Fault::Memory(MemoryBound::Own))?;
        Ok((self.input.address, bytes))
    }

    fn allocate(&mut self, bytes: u64) -> Result<InputBuffer, Fault> {
        let capacity = bytes.max(1).next_multiple_of(INPUT_STEP_BYTES);
        let capacity = u32::try_from(capacity).map_err(|_| Fault::Memory(MemoryBound::Own))?;
        let address = self
            .alloc
            .call(&mut self.store, capacity)
            .map_err(|error| fault(&error, &self.refusal, &self.state, &mut self.store))?;
        if address == 0 {
            // The guest's own allocator says so: perhaps because it was refused a page.
            let bound = self.refusal.bound().unwrap_or(MemoryBound::Own);
            return Err(Fault::Memory(bound));
        }
        let end = u64::from(address) + u64::from(capacity);
        if end > self.memory.view(&self.store).data_size() {
            return Err(Fault::Garbage(format!(
                "`{}` gave {capacity} bytes at {address}, which reach out of its memory",
                abi::EXPORT_ALLOC
            )));
        }
        Ok(InputBuffer { address, capacity })
    }

    fn read_answer(
        &self,
        address: u32,
        record_count: u32,
        output: &mut Vec<u8>,
    ) -> Result<Answered, Fault> {
        let mut block = [0; ANSWER_BYTES];
        self.memory
            .view(&self.store)
            .read(address.into(), &mut block)
            .map_err(|_| {
                Fault::Garbage(format!("its answer at {address} reaches out of its memory"))
            })?;
        let answer = Answer::decode(&block);
        if answer.consumed_count > record_count {
            return Err(Fault::Garbage(format!(
                "it consumed {} of {record_count} records",
                answer.consumed_count
            )));
        }
        let failure = match answer.status {
            STATUS_OK => None,
            STATUS_RECORD_FAILED if answer.consumed_count == record_count => {
                return Err(Fault::Garbage(
                    "it failed at a record it was not given".into(),
                ));
            }
            STATUS_RECORD_FAILED => Some(Failure::Record(self.read_message(&answer)?)),
            STATUS_FAILED => Some(Failure::Call(self.read_message(&answer)?)),
            status => return Err(Fault::Garbage(format!("its status {status} means nothing"))),
        };
        Ok(Answered {
            consumed_count: answer.consumed_count as usize,
            output: self.read_output(&answer, output)?,
            output_count: answer.output_count as usize,
            failure,
        })
    }

    fn read_message(&self, answer: &Answer) -> Result<String, Fault> {
        let bytes = answer.message_bytes.min(MESSAGE_BYTES_MAX);
        let message = self.read(answer.message_address, bytes, "error message")?;
        Ok(printable(message))
    }

    fn read_output(&self, answer: &Answer, output: &mut Vec<u8>) -> Result<Range<usize>, Fault> {
        if answer.output_bytes as usize > self.limits.output_bytes {
            return Err(Fault::Output(self.limits.output_bytes));
        }
        let start = output.len();
        let bytes = self.read(answer.output_address, answer.output_bytes, "output")?;
        output.extend_from_slice(bytes);
        Ok(start..output.len())
    }

    fn read(&self, address: u32, bytes: u32, what: &str) -> Result<&[u8], Fault> {
        let memory = self.memory();
        let start = address as usize;
        start
            .checked_add(bytes as usize)
            .and_then(|end| memory.get(start..end))
            .ok_or_else(|| {
                Fault::Garbage(format!(
                    "its {what} of {bytes} bytes at {address} reaches out of its memory of {} bytes",
                    memory.len()
                ))
            })
    }
}

fn time_limit(limits: &CallLimits) -> TimeLimit {
    TimeLimit {
        deadline: limits.deadline,
        patience: limits.patience(),
    }
}

/// Why a call was stopped, which says something of its module but where the machine was busy: what
/// runs on until it is left spare time is no different from what does with the processor to itself.
fn late_fault(late: Late, conduct: &Conduct) -> Fault {
    match late {
        Late::RanLong => {
            conduct.note(true);
            Fault::Deadline
        }
        Late::Starved { waited, is_spare } => {
            if is_spare {
                conduct.note(true);
            }
            Fault::Starved(waited)
        }
    }
}

fn size_of(view: &wasmer::MemoryView<'_>) -> usize {
    usize::try_from(view.data_size()).unwrap_or(0)
}

fn outside() -> Fault {
    Fault::Garbage("its input buffer lies outside its memory".to_owned())
}

/// Runs `_initialize`, where a module built for WASI exports it.
fn initialize(instance: &Instance, store: &mut Store) -> Result<(), Opening> {
    match instance
        .exports
        .get_typed_function::<(), ()>(store, abi::EXPORT_INITIALIZE)
    {
        Ok(initialize) => initialize.call(store).map_err(Opening::Initialize),
        Err(_) => Ok(()),
    }
}

enum Opening {
    Instance(Box<InstantiationError>),
    Export(wasmer::ExportError),
    Initialize(RuntimeError),
}

impl From<wasmer::ExportError> for Opening {
    fn from(error: wasmer::ExportError) -> Self {
        Self::Export(error)
    }
}

impl Opening {
    fn into_fault(
        self,
        refusal: &MemoryRefusal,
        state: &FunctionEnv<HostState>,
        store: &mut Store,
    ) -> Fault {
        match self {
            Self::Initialize(error) => fault(&error, refusal, state, store),
            Self::Instance(error) => match *error {
                InstantiationError::Start(error) => fault(&error, refusal, state, store),
                error => refusal
                    .bound()
                    .map_or_else(|| Fault::Instantiate(error.to_string()), Fault::Memory),
            },
            Self::Export(error) => Fault::Garbage(error.to_string()),
        }
    }
}

fn fault(
    error: &RuntimeError,
    refusal: &MemoryRefusal,
    state: &FunctionEnv<HostState>,
    store: &mut Store,
) -> Fault {
    let panicked = state.as_mut(store).panic_message.take();
    // A panic has its own reason, even when memory had run short before.
    match (panicked, refusal.bound()) {
        (Some(message), _) => Fault::Trapped(message),
        (None, Some(bound)) => Fault::Memory(bound),
        (None, None) => Fault::Trapped(trap_message(error)),
    }
}

/// The stack that a guest keeps for itself comes first in its memory, so that it runs over into an
/// access out of bounds, which on its own reads like a wild pointer.
fn trap_message(error: &RuntimeError) -> String {
    let message = error.message();
    match error.clone().to_trap() {
        Some(TrapCode::HeapAccessOutOfBounds) => format!(
            "{message}; if it calls itself deeply, build it with a larger stack (-zstack-size)"
        ),
        _ => message,
    }
}
