//! Huge pages off, for a process whose memory is many small things.
//!
//! An allocator's page of 2 MiB is zeroed whole at its first use and counted whole, however little
//! of it is used. Measured (ARCHITECTURE, performance): with 10,000 idle connections about half of
//! the private memory was such slack, and zeroing was a fifth of what a publish cost.
#![expect(unsafe_code, reason = "prctl has no safe wrapper for this option")]

/// Has the kernel give this process pages of the usual size only (prctl(2), `PR_SET_THP_DISABLE`).
/// Call before memory is used much; what is huge already stays so.
pub(super) fn disable() {
    let unused: libc::c_ulong = 0;
    let on: libc::c_ulong = 1;
    // SAFETY: this option reads its four integers and no memory.
    let result = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, on, unused, unused, unused) };
    if result != 0 {
        let error = std::io::Error::last_os_error();
        tracing::debug!(%error, "huge pages could not be turned off");
    }
}
