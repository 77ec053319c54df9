//! The few system calls that no library here wraps. All of this folder's own unsafe code.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// CPU time that the calling thread has used, user and system.
pub fn thread_cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec that the call fills.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    if result != 0 {
        return Duration::ZERO;
    }
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Soft and hard limit of locked memory, in bytes; `u64::MAX` for none.
pub fn locked_memory_limit() -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit that the call fills.
    match unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) } {
        0 => Ok((limit.rlim_cur, limit.rlim_max)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Raises the soft limit of a resource to its hard limit, and says what the soft limit is then.
pub fn raise_limit(resource: Resource) -> io::Result<u64> {
    let resource = match resource {
        Resource::LockedMemory => libc::RLIMIT_MEMLOCK,
        Resource::OpenFiles => libc::RLIMIT_NOFILE,
    };
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit that the call fills.
    if unsafe { libc::getrlimit(resource, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max };
    // SAFETY: `raised` is a valid rlimit that the call reads.
    if unsafe { libc::setrlimit(resource, &raised) } != 0 {
        return Ok(limit.rlim_cur);
    }
    Ok(raised.rlim_cur)
}

/// Blocks above this are mapped one by one, and given back to the system when they are freed.
#[cfg(target_env = "gnu")]
const LARGE_BLOCK: libc::c_int = 1 << 20;

/// Makes the C library give large blocks back at once. By default it moves that bound up to 32 MiB as such blocks are
/// freed, and then keeps the memory of the largest records: resident memory would pass what `in-flight-bytes` allows.
pub fn return_large_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a parameter of the allocator, which may be done at any time.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BLOCK);
    }
}

/// What [`raise_limit`] can raise.
#[derive(Debug, Clone, Copy)]
pub enum Resource {
    /// Memory for the rings.
    LockedMemory,
    /// Sockets.
    OpenFiles,
}

/// Asks the kernel for a tiny ring and closes it again.
pub fn probe_io_uring() -> io::Result<()> {
    // The kernel's io_uring_params: 120 bytes, all zero for no wishes.
    let mut params = [0u8; 120];
    // SAFETY: the kernel reads and fills 120 bytes at `params`, which has as many and outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 2u32, params.as_mut_ptr()) };
    match RawFd::try_from(fd) {
        Ok(fd) if fd >= 0 => {
            // SAFETY: the call has just returned this descriptor, and nobody else knows it.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
            Ok(())
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// A stream of the runtime as something that socket options can be set on.
pub fn borrow_fd(fd: &RawFd) -> impl AsFd + '_ {
    // SAFETY: callers pass the descriptor of a stream that they hold for as long as the result lives.
    unsafe { BorrowedFd::borrow_raw(*fd) }
}

/// Takes over a descriptor that another thread of this process gave away (see `control`).
pub fn adopt<T: FromRawFd>(fd: RawFd) -> T {
    // SAFETY: the sender turned an owned socket into this number and forgot it; each number is received once.
    unsafe { T::from_raw_fd(fd) }
}
