//! What keeps the connector from starting: one clear error that says which setting helps, and the right exit code.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use support::*;

/// Runs to its end and gives the exit code and standard error.
#[track_caller]
fn refused(settings: &Settings, change: impl FnOnce(&mut Command)) -> (i32, String) {
    let mut process = settings.spawn(change);
    let (code, took) = process.wait_end(LONG);
    assert!(took < Duration::from_secs(5), "{took:?}");
    let errors = process.errors();
    assert!(!errors.contains("panic"), "{errors}");
    (code.unwrap(), errors)
}

fn settings() -> Settings {
    Settings::to("HTTP_2", &["127.0.0.1:9".parse().unwrap()])
}

#[test]
fn a_port_in_use() {
    let settings = settings();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", settings.port)).unwrap();
    let (code, errors) = refused(&settings, |_| {});
    assert_eq!(code, 1, "{errors}");
    assert!(errors.contains(&settings.port.to_string()) && errors.contains("service.port"), "{errors}");
}

#[test]
fn a_core_that_does_not_exist() {
    let mut process = settings().spawn(|command| {
        let file = command.get_args().last().unwrap().to_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("cores: 1", "cores: \"4095\"")).unwrap();
    });
    let (code, _) = process.wait_end(LONG);
    assert_eq!(code, Some(2), "{}", process.errors());
    assert!(process.errors().contains("4095") && process.errors().contains("executors.cores"), "{}", process.errors());
}

#[test]
fn too_little_locked_memory() {
    let (code, errors) = refused(&settings(), |command| {
        // SAFETY: setrlimit is safe to call between fork and exec.
        unsafe {
            command.pre_exec(|| {
                let limit = libc::rlimit { rlim_cur: 64 << 10, rlim_max: 64 << 10 };
                libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit);
                Ok(())
            })
        };
    });
    assert_eq!(code, 1, "{errors}");
    assert!(errors.contains("locked memory") && errors.contains("LimitMEMLOCK"), "{errors}");
}

/// Lets io_uring_setup fail with `errno`, as a container's seccomp profile does.
fn refuse_io_uring(command: &mut Command, errno: i32) {
    const fn step(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
        libc::sock_filter { code: code as u16, jt, jf, k }
    }
    // SAFETY: prctl is safe to call between fork and exec; the program lives until the call has returned.
    unsafe {
        command.pre_exec(move || {
            let mut program = [
                // The number of the system call.
                step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
                step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_io_uring_setup as u32),
                step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
                step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
            ];
            let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
            if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) != 0
            {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        })
    };
}

#[test]
fn io_uring_refused_by_a_seccomp_profile() {
    let (code, errors) = refused(&settings(), |command| refuse_io_uring(command, libc::EPERM));
    assert_eq!(code, 1, "{errors}");
    assert!(errors.contains("EPERM") && errors.contains("seccomp"), "{errors}");
}

#[test]
fn io_uring_that_is_not_there() {
    let (code, errors) = refused(&settings(), |command| refuse_io_uring(command, libc::ENOSYS));
    assert_eq!(code, 1, "{errors}");
    assert!(errors.contains("ENOSYS") && errors.contains("kernel"), "{errors}");
}

#[test]
fn a_file_that_cannot_be_read() {
    let folder = std::env::temp_dir();
    for file in ["/nonexistent/ringpost.yml", folder.to_str().unwrap()] {
        let output = Command::new(env!("CARGO_BIN_EXE_ringpost")).args(["run", "-f", file]).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(file), "{errors}");
    }
}

#[test]
fn a_log_file_that_cannot_be_written() {
    let mut process = settings().spawn(|command| {
        let file = command.get_args().last().unwrap().to_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("  file: /", "  file: /proc/nonexistent/")).unwrap();
    });
    let (code, _) = process.wait_end(LONG);
    assert_eq!(code, Some(2), "{}", process.errors());
    assert!(process.errors().contains("/proc/nonexistent"), "{}", process.errors());
}
