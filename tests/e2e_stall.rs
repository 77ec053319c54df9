//! An executor that stands still, and everything else of its process does not: the debugger's means hold its thread.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::time::{Duration, Instant};

use ringpost_load::record::RecordSpec;
use ringpost_load::sink::{Behaviour, SinkHandle};
use ringpost_load::source::SourceConfig;
use support::manage::{BASE, ask, series, with_manage};
use support::*;

/// A thread of a child that does not run until this is dropped, in the thread that made it.
struct Hold(libc::pid_t);

impl Hold {
    /// Of the thread of executor `index`; the helper of its runtime has the same name and came later.
    fn executor(process: &Process, index: usize) -> Hold {
        let tasks = format!("/proc/{}/task", process.pid());
        let numbers = std::fs::read_dir(&tasks).unwrap().map(|task| task.unwrap().file_name().into_string().unwrap());
        let name = format!("ringpost-{index}\n");
        let is_it = |number: &String| std::fs::read_to_string(format!("{tasks}/{number}/comm")).unwrap() == name;
        let thread: libc::pid_t = numbers.filter(is_it).map(|number| number.parse().unwrap()).min().unwrap();
        // SAFETY: these requests take no pointer; the thread is one of a child that this test has started.
        unsafe {
            assert_eq!(libc::ptrace(libc::PTRACE_SEIZE, thread, 0, 0), 0, "{}", std::io::Error::last_os_error());
            assert_eq!(libc::ptrace(libc::PTRACE_INTERRUPT, thread, 0, 0), 0);
            assert_eq!(libc::waitpid(thread, std::ptr::null_mut(), libc::__WALL), thread);
        }
        Hold(thread)
    }

    /// Waits until the thread has ended with its process, which is not over before.
    #[track_caller]
    fn ends(self) {
        // SAFETY: as above.
        let has_ended =
            || unsafe { libc::waitpid(self.0, std::ptr::null_mut(), libc::__WALL | libc::WNOHANG) == self.0 };
        wait_until("the process ends", LONG, has_ended);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // SAFETY: as above; where the process has ended there is nothing to let go.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.0, 0, 0) };
    }
}

/// Lets both executors work, and so sleep in between: when the first one of a process does, the runtime sets something up once,
/// and the others wait for that.
fn warm_up(connector: &Process, sink: &SinkHandle) {
    oracle::watched(source(connector.addr(), 4, 400), &[sink]).finish(&[sink]);
}

#[test]
fn an_executor_that_stands_still_is_seen_and_counted_and_delays_nobody_who_asks() {
    let sink = sink(Behaviour::default());
    let settings = Settings::to("HTTP_2", &[sink.addr()]).executors(2).executor("heartbeat-limit: 60s");
    let (settings, manage) = with_manage(settings, "");
    let mut connector = settings.start();
    warm_up(&connector, &sink);
    let stalls = |executor: usize| {
        let name = format!("ringpost_executor_stalls_total{{executor=\"{executor}\"");
        series(manage).into_iter().find(|(series, _)| series.starts_with(&name)).unwrap().1
    };
    assert_eq!((stalls(0), stalls(1)), (0.0, 0.0));
    let hold = Hold::executor(&connector, 0);
    wait_until("its standing still is counted", LONG, || stalls(0) == 1.0);
    let health = ask(manage, "/health", "");
    assert_eq!((health.status, series(manage)["ringpost_healthy"]), (503, 0.0), "{health:?}");
    assert!(health.body.contains("executor"), "{health:?}");
    let asked = Instant::now();
    (0..20).for_each(|_| assert_eq!(ask(manage, &format!("{BASE}/metrics"), "").status, 200));
    assert!(asked.elapsed() < Duration::from_secs(5), "an answer waits for no executor: {:?}", asked.elapsed());
    drop(hold);
    wait_until("it is healthy again", LONG, || ask(manage, "/health", "").status == 200);
    assert_eq!((stalls(0), stalls(1)), (1.0, 0.0));
    let load = SourceConfig {
        records_spec: RecordSpec { run: 2, ..RecordSpec::default() },
        ..source(connector.addr(), 4, 400)
    };
    oracle::watched(load, &[&sink]).finish(&[&sink]);
    connector.stop();
}

#[test]
fn an_executor_that_stands_still_for_too_long_ends_the_process_with_code_70() {
    let sink = sink(Behaviour::default());
    let settings = Settings::to("HTTP_2", &[sink.addr()]).executors(2).executor("heartbeat-limit: 1s");
    let mut connector = settings.start();
    warm_up(&connector, &sink);
    let hold = Hold::executor(&connector, 1);
    hold.ends();
    let (code, _) = connector.wait_end(LONG);
    assert_eq!(code, Some(70), "{}", connector.log());
    let told = format!("{}{}", connector.log(), connector.errors());
    let is_named =
        told.contains("executor 1 (") && told.contains("stood still for 1000 ms (executors.heartbeat-limit)");
    assert!(is_named, "{told}");
}
