//! What the machine must allow, checked before anything is opened: a refused start says what to change.

use std::io;

use super::sys::{self, Resource};

/// Locked memory that one executor's rings need, in bytes.
pub const LOCKED_PER_EXECUTOR: u64 = 512 * 1024;

/// The machine does not allow what the executors need.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The limit of locked memory is too low.
    #[error(
        "too little locked memory: {executors} executors need {need} KiB, the limit (RLIMIT_MEMLOCK) is {limit} KiB and cannot be raised from here; \
         set `LimitMEMLOCK=infinity` in the systemd unit, `--ulimit memlock=-1` for a container, `* - memlock unlimited` in /etc/security/limits.conf for a login, or use fewer cores (executors.cores)"
    )]
    LockedMemory {
        /// Number of executors.
        executors: usize,
        /// KiB needed.
        need: u64,
        /// KiB allowed.
        limit: u64,
    },
    /// The kernel has no io_uring.
    #[error(
        "io_uring is not there (ENOSYS): the kernel is older than 5.8 or built without CONFIG_IO_URING, or a container's seccomp profile hides it; \
             use a newer kernel, or run the container with a profile that allows io_uring_setup, io_uring_enter and io_uring_register"
    )]
    NoIoUring,
    /// The administrator switched io_uring off.
    #[error(
        "io_uring is switched off on this machine (kernel.io_uring_disabled = {value}); `sysctl -w kernel.io_uring_disabled=0` allows it{group}"
    )]
    Disabled {
        /// The setting.
        value: u8,
        /// What else helps.
        group: &'static str,
    },
    /// Something else forbids io_uring.
    #[error(
        "io_uring is refused (EPERM) although kernel.io_uring_disabled allows it: a seccomp profile or a security module forbids it; \
             run the container with a profile that allows io_uring_setup, io_uring_enter and io_uring_register (Docker: --security-opt seccomp=PROFILE, Kubernetes: securityContext.seccompProfile)"
    )]
    Forbidden,
    /// Any other fault.
    #[error("io_uring cannot be used: {0}")]
    Other(io::Error),
}

/// Checks locked memory and io_uring for `executors` executors, and raises what may be raised.
pub fn check(executors: usize) -> Result<(), MachineError> {
    check_locked_memory(executors)?;
    sys::return_large_blocks();
    sys::probe_io_uring().map_err(|error| classify(error, io_uring_disabled()))?;
    match sys::raise_limit(Resource::OpenFiles) {
        Ok(limit) => tracing::debug!(target: "server", "up to {limit} open files"),
        Err(error) => tracing::warn!(target: "server", "the limit of open files cannot be read: {error}"),
    }
    Ok(())
}

fn check_locked_memory(executors: usize) -> Result<(), MachineError> {
    let need = LOCKED_PER_EXECUTOR.saturating_mul(executors as u64);
    let (soft, _) = sys::locked_memory_limit().map_err(MachineError::Other)?;
    if soft >= need {
        return Ok(());
    }
    let limit = sys::raise_limit(Resource::LockedMemory).map_err(MachineError::Other)?;
    if limit >= need {
        return Ok(());
    }
    Err(MachineError::LockedMemory { executors, need: need / 1024, limit: limit / 1024 })
}

/// `kernel.io_uring_disabled`, where the kernel has it (6.6 and newer).
fn io_uring_disabled() -> Option<u8> {
    std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

/// Which of the ways to refuse io_uring this is.
fn classify(error: io::Error, disabled: Option<u8>) -> MachineError {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => MachineError::NoIoUring,
        Some(libc::EPERM | libc::EACCES) => match disabled {
            Some(1) => MachineError::Disabled {
                value: 1,
                group: ", or add the user to the group of kernel.io_uring_group, or give the process CAP_SYS_ADMIN",
            },
            Some(value @ 2..) => MachineError::Disabled { value, group: "" },
            _ => MachineError::Forbidden,
        },
        _ => MachineError::Other(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_refuse_io_uring_names_the_setting_that_helps() {
        let text = |errno, disabled| classify(io::Error::from_raw_os_error(errno), disabled).to_string();
        assert!(text(libc::ENOSYS, None).contains("seccomp"));
        assert!(text(libc::EPERM, Some(2)).contains("kernel.io_uring_disabled = 2"));
        assert!(text(libc::EPERM, Some(1)).contains("kernel.io_uring_group"));
        assert!(text(libc::EPERM, Some(0)).contains("seccompProfile"));
        assert!(text(libc::EPERM, None).contains("seccompProfile"));
        assert!(text(libc::ENOMEM, None).contains("memory"));
    }
}
