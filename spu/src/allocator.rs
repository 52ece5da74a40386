//! How the process's allocator treats large buffers. `main` calls it first.
//!
//! The C library maps what is larger than 128 KiB afresh and unmaps it when it is freed, so that
//! every buffer of a batch is paid for page by page: records on their way through a SmartModule
//! took three times as much processor time for it. Here buffers come from the heap and stay in it,
//! within bounds.

/// The most that is mapped afresh; the C library allows no more than this, in bytes.
const MAPPED_FROM_BYTES: libc::c_int = 32 << 20;
/// How much free memory one heap keeps at its end, in bytes.
const KEPT_BYTES: libc::c_int = 32 << 20;
/// How many heaps there are: fewer than threads, so that what one freed another can use.
const HEAPS: libc::c_int = 4;

/// Has freed buffers used again instead of given back to the system.
#[expect(
    unsafe_code,
    reason = "the C library's allocator has no other interface"
)]
pub(crate) fn keep_large_buffers() {
    for (parameter, value) in [
        (libc::M_MMAP_THRESHOLD, MAPPED_FROM_BYTES),
        (libc::M_TRIM_THRESHOLD, KEPT_BYTES),
        (libc::M_ARENA_MAX, HEAPS),
    ] {
        // SAFETY: `mallopt` takes two numbers, keeps no reference and may be called at any time. A
        // value that it refuses leaves the setting as it is, which costs speed only.
        let _is_accepted = unsafe { libc::mallopt(parameter, value) };
    }
}
