//! The bounds on guests' linear memories, each one's and that of all together, and the knowledge
//! that a guest ran into one.

use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use wasmer::sys::vm::{
    LinearMemory, MemoryError, MemoryStyle, TableStyle, VMConfig, VMMemory, VMMemoryDefinition,
    VMOwnedMemory, VMTable, VMTableDefinition,
};
use wasmer::sys::{BaseTunables, Tunables};
use wasmer::{MemoryType, Pages, TableType};

use crate::deadline::Lateness;
use crate::guarded_module::LATE;
use crate::memory_thread::MemoryThread;

/// The stack of a call into a guest.
const STACK_BYTES: usize = 1 << 20;

/// Which bound a guest ran into, if any; shared with the guest's memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryRefusal(Arc<AtomicU8>);

/// A bound on memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum MemoryBound {
    /// That of the guest itself.
    Own = 1,
    /// That of all guests together.
    Shared = 2,
}

impl MemoryRefusal {
    pub(crate) fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// The bound that the guest ran into since the last [`MemoryRefusal::clear`].
    pub(crate) fn bound(&self) -> Option<MemoryBound> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            bound if bound == MemoryBound::Own as u8 => Some(MemoryBound::Own),
            _ => Some(MemoryBound::Shared),
        }
    }

    fn by(&self, bound: MemoryBound) {
        self.0.store(bound as u8, Ordering::Relaxed);
    }
}

/// What all guests of an engine may use together, and the thread that sees to it.
#[derive(Debug)]
pub(crate) struct SharedMemory {
    limit_bytes: u64,
    used_bytes: AtomicU64,
    thread: MemoryThread,
}

impl SharedMemory {
    pub(crate) fn start(limit_bytes: u64) -> std::io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            limit_bytes,
            used_bytes: AtomicU64::new(0),
            thread: MemoryThread::start()?,
        }))
    }

    /// Takes `bytes` where they are left.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        self.used_bytes
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                used.checked_add(bytes)
                    .filter(|used| *used <= self.limit_bytes)
            })
            .is_ok()
    }

    /// Takes what was given back a moment before, also where others have it meanwhile.
    pub(crate) fn take_again(&self, bytes: u64) {
        self.used_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    pub(crate) fn give_back(&self, bytes: u64) {
        self.used_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }
}

/// How the memory of one instance is made: with a bound of its own, whatever the module asks for.
pub(crate) struct GuestTunables {
    base: BaseTunables,
    pages_max: Pages,
    refusal: MemoryRefusal,
    lateness: Lateness,
    shared: Arc<SharedMemory>,
    config: VMConfig,
}

impl GuestTunables {
    pub(crate) fn new(
        memory_bytes: u64,
        refusal: MemoryRefusal,
        lateness: Lateness,
        shared: Arc<SharedMemory>,
    ) -> Self {
        let pages = (memory_bytes / u64::from(wasmer::WASM_PAGE_SIZE as u32)).min(65_536);
        Self {
            base: BaseTunables::new(),
            pages_max: Pages(u32::try_from(pages).unwrap_or(65_536)),
            refusal,
            lateness,
            shared,
            config: VMConfig {
                wasm_stack_size: Some(STACK_BYTES),
            },
        }
    }

    fn bounded(&self, asked: &MemoryType) -> Result<MemoryType, MemoryError> {
        if asked.minimum > self.pages_max {
            self.refusal.by(MemoryBound::Own);
            return Err(MemoryError::Generic(format!(
                "the memory starts with {} pages of 64 KiB, more than the {} allowed",
                asked.minimum.0, self.pages_max.0
            )));
        }
        let maximum = asked
            .maximum
            .map_or(self.pages_max, |asked| asked.min(self.pages_max));
        Ok(MemoryType {
            minimum: asked.minimum,
            maximum: Some(maximum),
            shared: false,
        })
    }

    fn guarded(&self, memory: VMOwnedMemory) -> Result<VMMemory, MemoryError> {
        let taken_bytes = pages_bytes(memory.size());
        if !self.shared.take(taken_bytes) {
            self.refusal.by(MemoryBound::Shared);
            return Err(MemoryError::Generic(
                "all guests together use as much as they may".to_owned(),
            ));
        }
        let memory: Box<dyn LinearMemory + Send + Sync> = Box::new(GuestMemory {
            memory: ManuallyDrop::new(memory),
            refusal: self.refusal.clone(),
            lateness: self.lateness.clone(),
            shared: Arc::clone(&self.shared),
            taken_bytes,
        });
        Ok(VMMemory::from_custom(memory))
    }
}

impl Tunables for GuestTunables {
    fn memory_style(&self, memory: &MemoryType) -> MemoryStyle {
        self.base.memory_style(memory)
    }

    fn table_style(&self, table: &TableType) -> TableStyle {
        self.base.table_style(table)
    }

    fn create_host_memory(
        &self,
        ty: &MemoryType,
        style: &MemoryStyle,
    ) -> Result<VMMemory, MemoryError> {
        let ty = self.bounded(ty)?;
        let memory = self.shared.thread.run(|| VMOwnedMemory::new(&ty, style));
        self.guarded(memory?)
    }

    unsafe fn create_vm_memory(
        &self,
        ty: &MemoryType,
        style: &MemoryStyle,
        vm_definition_location: NonNull<VMMemoryDefinition>,
    ) -> Result<VMMemory, MemoryError> {
        let ty = self.bounded(ty)?;
        let location = Location(vm_definition_location);
        let memory = self.shared.thread.run(move || {
            let Location(location) = { location };
            // SAFETY: the location is valid by the caller's contract, and passed on as it is.
            unsafe { VMOwnedMemory::from_definition(&ty, style, location) }
        });
        self.guarded(memory?)
    }

    fn create_host_table(&self, ty: &TableType, style: &TableStyle) -> Result<VMTable, String> {
        self.base.create_host_table(ty, style)
    }

    unsafe fn create_vm_table(
        &self,
        ty: &TableType,
        style: &TableStyle,
        vm_definition_location: NonNull<VMTableDefinition>,
    ) -> Result<VMTable, String> {
        // SAFETY: the location is valid by the caller's contract, and passed on as it is.
        unsafe { self.base.create_vm_table(ty, style, vm_definition_location) }
    }

    fn vmconfig(&self) -> &VMConfig {
        &self.config
    }
}

/// Where an instance keeps what it knows of its memory.
struct Location(NonNull<VMMemoryDefinition>);

// SAFETY: the instance is made by a thread that waits for whoever is given the location.
unsafe impl Send for Location {}

/// A linear memory that remembers having refused to grow: the only way to tell a guest that ran
/// out of memory from one that crashed. It also says when a call is late.
#[derive(Debug)]
struct GuestMemory {
    /// Dropped by the memories' thread.
    memory: ManuallyDrop<VMOwnedMemory>,
    refusal: MemoryRefusal,
    lateness: Lateness,
    shared: Arc<SharedMemory>,
    /// What it has taken of `shared`.
    taken_bytes: u64,
}

impl LinearMemory for GuestMemory {
    fn ty(&self) -> MemoryType {
        self.memory.ty()
    }

    fn size(&self) -> Pages {
        self.memory.size()
    }

    fn style(&self) -> MemoryStyle {
        self.memory.style()
    }

    fn grow(&mut self, delta: Pages) -> Result<Pages, MemoryError> {
        if self.lateness.is_late() {
            return Ok(Pages(LATE.cast_unsigned()));
        }
        // Asked for the lateness alone, or for the size.
        if delta.0 == 0 {
            return Ok(self.memory.size());
        }
        let delta_bytes = pages_bytes(delta);
        // Its own bound comes first: whoever passes that does not wait for others to end.
        let own = self.memory.ty().maximum;
        let wanted = u64::from(self.memory.size().0) + u64::from(delta.0);
        if own.is_some_and(|own| wanted > u64::from(own.0)) {
            self.refusal.by(MemoryBound::Own);
            return Err(MemoryError::Generic(
                "the guest uses as much as it may".to_owned(),
            ));
        }
        if !self.shared.take(delta_bytes) {
            self.refusal.by(MemoryBound::Shared);
            return Err(MemoryError::Generic(
                "all guests together use as much as they may".to_owned(),
            ));
        }
        let memory = &mut self.memory;
        let grown = self.shared.thread.run(|| memory.grow(delta));
        if grown.is_ok() {
            self.taken_bytes += delta_bytes;
        } else {
            self.shared.give_back(delta_bytes);
            self.refusal.by(MemoryBound::Own);
        }
        grown
    }

    fn vmmemory(&self) -> NonNull<VMMemoryDefinition> {
        self.memory.vmmemory()
    }

    fn try_clone(&self) -> Result<Box<dyn LinearMemory + Send + Sync>, MemoryError> {
        self.memory.try_clone()
    }

    fn copy(&self) -> Result<Box<dyn LinearMemory + Send + Sync>, MemoryError> {
        LinearMemory::copy(&*self.memory)
    }
}

impl Drop for GuestMemory {
    fn drop(&mut self) {
        let memory = &mut self.memory;
        // SAFETY: this is the only place that drops it, and nothing uses it after.
        let unmap = || unsafe { ManuallyDrop::drop(memory) };
        self.shared.thread.run(unmap);
        self.shared.give_back(self.taken_bytes);
    }
}

fn pages_bytes(pages: Pages) -> u64 {
    u64::from(pages.0) * wasmer::WASM_PAGE_SIZE as u64
}
