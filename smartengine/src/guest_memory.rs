//! The bound on a guest's linear memory, and the knowledge that a guest ran into it.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmer::sys::vm::{
    LinearMemory, MemoryError, MemoryStyle, TableStyle, VMConfig, VMMemory, VMMemoryDefinition,
    VMOwnedMemory, VMTable, VMTableDefinition,
};
use wasmer::sys::{BaseTunables, Tunables};
use wasmer::{MemoryType, Pages, TableType};

/// The stack of a call into a guest.
const STACK_BYTES: usize = 1 << 20;

/// Set when a guest was refused more memory; shared with the guest's memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryRefusal(Arc<AtomicBool>);

impl MemoryRefusal {
    pub(crate) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    pub(crate) fn happened(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How the memory of one instance is made: with a bound of its own, whatever the module asks for.
pub(crate) struct GuestTunables {
    base: BaseTunables,
    pages_max: Pages,
    refusal: MemoryRefusal,
    config: VMConfig,
}

impl GuestTunables {
    pub(crate) fn new(memory_bytes: u64, refusal: MemoryRefusal) -> Self {
        let pages = (memory_bytes / u64::from(wasmer::WASM_PAGE_SIZE as u32)).min(65_536);
        Self {
            base: BaseTunables::new(),
            pages_max: Pages(u32::try_from(pages).unwrap_or(65_536)),
            refusal,
            config: VMConfig {
                wasm_stack_size: Some(STACK_BYTES),
            },
        }
    }

    fn bounded(&self, asked: &MemoryType) -> Result<MemoryType, MemoryError> {
        if asked.minimum > self.pages_max {
            self.refusal.0.store(true, Ordering::Relaxed);
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

    fn guarded(&self, memory: VMOwnedMemory) -> VMMemory {
        let memory: Box<dyn LinearMemory + Send + Sync> = Box::new(GuestMemory {
            memory,
            refusal: self.refusal.clone(),
        });
        VMMemory::from_custom(memory)
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
        Ok(self.guarded(VMOwnedMemory::new(&self.bounded(ty)?, style)?))
    }

    unsafe fn create_vm_memory(
        &self,
        ty: &MemoryType,
        style: &MemoryStyle,
        vm_definition_location: NonNull<VMMemoryDefinition>,
    ) -> Result<VMMemory, MemoryError> {
        // SAFETY: the location is valid by the caller's contract, and passed on as it is.
        let memory = unsafe {
            VMOwnedMemory::from_definition(&self.bounded(ty)?, style, vm_definition_location)?
        };
        Ok(self.guarded(memory))
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

/// A linear memory that remembers having refused to grow: the only way to tell a guest that ran
/// out of memory from one that crashed.
#[derive(Debug)]
struct GuestMemory {
    memory: VMOwnedMemory,
    refusal: MemoryRefusal,
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
        let grown = self.memory.grow(delta);
        if grown.is_err() {
            self.refusal.0.store(true, Ordering::Relaxed);
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
        LinearMemory::copy(&self.memory)
    }
}
