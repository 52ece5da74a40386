//! Keeps interrupts from unwinding the host's own code.
//!
//! A guest that runs too long is interrupted by a signal, and whatever is on its stack is unwound
//! from where it is. On that stack there is host code too, before and after each function of the
//! host's that the guest calls: it would leave locks taken and cells borrowed, which all other
//! guests need. So an interrupt that meets host code does nothing. It is sent again, and the
//! call of the host's function ends the guest by itself once it has been interrupted.

use std::ops::Range;
use std::sync::OnceLock;

use libc::{c_int, c_void, dl_phdr_info, siginfo_t, size_t, ucontext_t};

/// What wasmer sends to interrupt a guest.
const INTERRUPT: c_int = libc::SIGUSR1;

/// Where the code of the program and of its libraries lies, in order.
static HOST_CODE: OnceLock<Vec<Range<usize>>> = OnceLock::new();

/// What is asked first when a guest gets a signal; whether nothing more is to be done about it.
pub(crate) type SignalFilter =
    Box<dyn Fn(c_int, *const siginfo_t, *const c_void) -> bool + Send + Sync>;

/// A filter that lets interrupts pass where the guest's own code runs.
pub(crate) fn interrupts_only_guests() -> SignalFilter {
    // Looked up now, as a signal handler may not allocate.
    let host_code = HOST_CODE.get_or_init(host_code);
    Box::new(move |signal, _, context| {
        signal == INTERRUPT && {
            let at = program_counter(context.cast());
            host_code.iter().any(|range| range.contains(&at))
        }
    })
}

fn host_code() -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    // SAFETY: `note_code` takes what it is given as the vector that it is, which outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(note_code), (&raw mut found).cast()) };
    found
}

/// Adds the executable parts of one loaded object.
unsafe extern "C" fn note_code(object: *mut dl_phdr_info, _: size_t, found: *mut c_void) -> c_int {
    // SAFETY: the loader gives an object that lives as long as the call, and passes on the vector
    // that `host_code` lends it.
    let (object, found) = unsafe { (&*object, &mut *found.cast::<Vec<Range<usize>>>()) };
    for index in 0..usize::from(object.dlpi_phnum) {
        // SAFETY: there are as many headers as the object says.
        let header = unsafe { &*object.dlpi_phdr.add(index) };
        if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0 {
            let start = (object.dlpi_addr as usize).wrapping_add(header.p_vaddr as usize);
            found.push(start..start.saturating_add(header.p_memsz as usize));
        }
    }
    0
}

fn program_counter(context: *const ucontext_t) -> usize {
    // SAFETY: a handler that asks for it is given the context of what it interrupted.
    let machine = unsafe { &(*context).uc_mcontext };
    #[cfg(target_arch = "x86_64")]
    let at = machine.gregs[libc::REG_RIP as usize] as usize;
    #[cfg(target_arch = "aarch64")]
    let at = machine.pc as usize;
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_s_code_is_the_program_s_and_its_libraries() {
        let code = host_code();
        let on_heap = Box::new(0_u8);
        let is_code = |address: usize| code.iter().any(|range| range.contains(&address));

        assert!(is_code(host_code as fn() -> _ as usize));
        assert!(is_code(
            libc::getpid as unsafe extern "C" fn() -> _ as usize
        ));
        assert!(!is_code(&raw const *on_heap as usize));
        assert!(!is_code(&raw const code as usize));
    }
}
