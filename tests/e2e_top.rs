//! `ringpost top` beside a real connector: its figures are what happened, it says what is wrong, and it gives the terminal back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use ringpost::cli::top::Window;
use ringpost_load::sink::Behaviour;
use support::manage::with_manage;
use support::*;
use unicode_width::UnicodeWidthStr;

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringpost"));
    command.arg("top").args(arguments).stdin(Stdio::null()).env_remove("COLUMNS").env_remove("NO_COLOR");
    command.env("LC_ALL", "C.UTF-8").env("TERM", "xterm");
    command
}

/// Without a terminal: exit code, standard output, standard error.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// As the picture shows a number below 10,000.
fn shown(number: u64) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", number / 1000, number % 1000) }
}

#[test]
fn its_figures_are_what_happened() {
    let sink = sink(Behaviour { error_probability: 0.2, error_status: 503, ..Behaviour::default() });
    let settings = Settings::to("HTTP_1_1", &[sink.addr()])
        .executors(2)
        .top("namespaces:\n  nowhere:\n    routing: { mode: skip }");
    let (mut settings, manage) = with_manage(settings, "");
    settings.service.push("cluster-name: east".to_owned());
    let mut connector = settings.start();
    let report = oracle::watched(source(connector.addr(), 4, 2_000), &[&sink]).finish(&[&sink]);
    let mut client = client(connector.addr());
    for number in 0..18 {
        let frame = wire::Frame::new(50_000 + number).namespace(if number < 7 { "" } else { "nowhere" });
        client.send_frame(&frame.bytes()).unwrap();
        assert_eq!(client.read_ack().unwrap(), if number < 7 { 10 } else { 0 });
    }
    let failed = report.acks_by_code[11];
    let stats = sink.ledger().stats();
    assert!(failed > 100 && failed < 9_999, "{failed}");
    let url = format!("http://{manage}");
    let wanted = [
        "Ringpost ".to_owned(),
        " · east · running · up ".to_owned(),
        format!("in all {} ", shown(report.sent + report.resent + 18)),
        format!("● 0 delivered {} (", shown(2_011)),
        format!("▲ 11 later {} (", shown(failed)),
        "◆ 18 overloaded 0 (".to_owned(),
        "✕ 10 never 7 (".to_owned(),
        "skipped 11".to_owned(),
        "bad content 7".to_owned(),
        "in flight 0 of ".to_owned(),
        "\n2 executors  ".to_owned(),
        format!("http://{}/records", sink.addr()),
        format!(" {}", shown(stats.succeeded)),
        format!(" {}", shown(stats.requests - stats.succeeded)),
        "s ago: ".to_owned(),
        "\n1 XDR connection ".to_owned(),
    ];
    // Executors publish four times a second.
    let deadline = Instant::now() + LONG;
    loop {
        let (code, picture, errors) = run(&["--once", "--url", &url]);
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{picture}");
        assert!(!picture.contains('\u{1b}'), "no escapes without a terminal: {picture}");
        let missing = wanted.iter().find(|part| !picture.contains(part.as_str()));
        let Some(missing) = missing else { break };
        assert!(Instant::now() < deadline, "{missing:?} is not in\n{picture}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let file = connector.folder.join("ringpost.yml");
    let (code, picture, _) = run(&["-f", file.to_str().unwrap()]);
    assert!(code == Some(0) && picture.contains("✕ 10 never 7 ("), "{picture}");
    drop(client);
    connector.stop();
}

#[test]
fn it_says_why_there_is_nothing_and_what_to_do() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let (code, picture, errors) = run(&["--url", &url]);
    assert_eq!((code, picture.as_str()), (Some(1), ""));
    assert!(errors.starts_with(&format!("ringpost: {url} cannot be reached: Connection refused")), "{errors}");
    assert!(errors.contains("--url") && errors.contains("service.manage"), "{errors}");
    let sink = sink(Behaviour::default());
    let (code, _, errors) = run(&["--once", "--url", &format!("http://{}", sink.addr())]);
    assert!(code == Some(1) && errors.contains("service.manage port"), "{errors}");
    for (arguments, part) in [
        (&["--url", "127.0.0.1"][..], "no scheme"),
        (&["--url", "http://h", "-f", "x.yml"][..], "cannot be used with"),
        (&["--interval", "0"][..], "--interval"),
        (&["-f", "nowhere.yml"][..], "nowhere.yml: cannot read the file"),
        (&["--token-file", "nowhere"][..], "nowhere: there is no such file"),
    ] {
        let (code, _, errors) = run(arguments);
        assert!(code == Some(2) && errors.contains(part), "{arguments:?}: {code:?} {errors}");
    }
    let file = folder().join("a.yml");
    std::fs::write(&file, Settings::to("HTTP_1_1", &[sink.addr()]).yaml(&file)).unwrap();
    let (code, _, errors) = run(&["-f", file.to_str().unwrap()]);
    assert!(code == Some(2) && errors.contains("there is no `service.manage`"), "{errors}");
}

#[test]
fn who_has_the_token_sees_it_and_who_is_elsewhere_is_told() {
    let sink = sink(Behaviour::default());
    let (right, wrong) = (folder().join("right"), folder().join("wrong"));
    std::fs::write(&right, "0123456789abcdef-right\n").unwrap();
    std::fs::write(&wrong, "0123456789abcdef-wrong\n").unwrap();
    let (right, wrong) = (right.to_str().unwrap(), wrong.to_str().unwrap());
    let settings = Settings::to("HTTP_1_1", &[sink.addr()]);
    let (settings, manage) = with_manage(settings, &format!(", token-file: {right}"));
    let mut connector = settings.start();
    let url = format!("http://{manage}");
    let (code, picture, errors) = run(&["--url", &url, "--token-file", wrong]);
    assert_eq!((code, picture.as_str()), (Some(1), ""), "{errors}");
    assert!(errors.contains("(status 401)") && errors.contains("--token-file"), "{errors}");
    assert_eq!(run(&["--url", &url, "--token-file", right]).0, Some(0));
    assert_eq!(run(&["--url", &url]).0, Some(0), "this machine");
    // What is wrong elsewhere in the file is no affair of who only looks.
    let file = connector.folder.join("ringpost.yml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace("cores: 1\n", "cores: none\n  no-such-key: 1\n");
    assert!(text.contains("no-such-key"), "{text}");
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(run(&["-f", file]).0, Some(0), "{:?}", run(&["-f", file]));
    assert_eq!(run(&["-f", file, "--token-file", wrong]).0, Some(1), "what is said on the line goes before the file");
    connector.stop();

    // No packet is sent: it is asked which address this machine has.
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let Ok(own) = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr()) else { return };
    let mut settings = Settings::to("HTTP_1_1", &[sink.addr()]);
    let port = free_port();
    settings.service.push(format!("manage: {{ port: {port} }}"));
    let mut connector = settings.start();
    let (code, _, errors) = run(&["--url", &format!("http://{}:{port}", own.ip())]);
    assert!(code == Some(1) && errors.contains("(status 403)") && errors.contains("on its own machine"), "{errors}");
    connector.stop();
}

/// `ringpost top` in a terminal of its own.
struct Terminal {
    /// Our end; dropped, the terminal hangs up.
    ours: Option<File>,
    theirs: OwnedFd,
    child: Child,
    written: Arc<Mutex<Vec<u8>>>,
    before: String,
}

fn settings_of(terminal: &OwnedFd) -> String {
    // SAFETY: a termios is plain numbers, and the descriptor is open.
    let settings = unsafe {
        let mut settings: libc::termios = std::mem::zeroed();
        assert_eq!(libc::tcgetattr(terminal.as_raw_fd(), &raw mut settings), 0);
        settings
    };
    format!("{:?}", (settings.c_iflag, settings.c_oflag, settings.c_cflag, settings.c_lflag, settings.c_cc))
}

impl Terminal {
    fn start(columns: u16, rows: u16, arguments: &[&str]) -> Terminal {
        Terminal::start_with(columns, rows, command(arguments))
    }

    fn start_with(columns: u16, rows: u16, mut command: Command) -> Terminal {
        let (mut ours, mut theirs) = (0, 0);
        let mut size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: openpty fills in two descriptors that nobody else has.
        let (ours, theirs) = unsafe {
            let nothing = std::ptr::null_mut();
            let done = libc::openpty(&raw mut ours, &raw mut theirs, nothing, std::ptr::null_mut(), &raw mut size);
            assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
            (File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs))
        };
        let before = settings_of(&theirs);
        let end = || Stdio::from(theirs.try_clone().unwrap());
        command.stdin(end()).stdout(end()).stderr(end());
        // SAFETY: these are safe to call between fork and exec. The terminal becomes the child's own.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                // The descriptors of the test's other terminals would keep them from hanging up.
                for descriptor in 3..256 {
                    libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC);
                }
                Ok(())
            })
        };
        let child = command.spawn().unwrap();
        let written = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, sink) = (ours.try_clone().unwrap(), Arc::clone(&written));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                sink.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Terminal { ours: Some(ours), theirs, child, written, before }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    /// All pictures up to now, as lines without escapes.
    fn pictures(&self) -> Vec<Vec<String>> {
        let text = self.text();
        let whole = text.rsplit_once("\u{1b}[?2026l").map_or("", |(before, _)| before);
        let pictures = whole.split("\u{1b}[1;1H").skip(1);
        pictures.map(|picture| without_escapes(picture).split("\r\n").map(str::to_owned).collect()).collect()
    }

    #[track_caller]
    fn wait_for(&self, part: &str) {
        // Long texts go over several lines.
        let whole = |lines: &Vec<String>| lines.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
        let is_there = || self.pictures().last().is_some_and(|lines| whole(lines).contains(part));
        let started = Instant::now();
        while !is_there() {
            assert!(started.elapsed() < LONG, "{part:?} is not in {:#?}", self.pictures().last());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    fn press(&mut self, keys: &[u8]) {
        self.ours.as_mut().unwrap().write_all(keys).unwrap();
    }

    fn signal(&self, signal: i32) {
        // SAFETY: the child has not been waited for, so that the number is its own.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    #[track_caller]
    fn code(&mut self) -> Option<i32> {
        let mut code = None;
        wait_until("it ends", LONG, || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        });
        code.unwrap().code()
    }

    /// Its end, and that the terminal is as before.
    #[track_caller]
    fn ends_well(&mut self) {
        self.ends_with(0);
    }

    #[track_caller]
    fn ends_with(&mut self, expected: i32) {
        assert_eq!(self.code(), Some(expected), "{}", self.text());
        assert_eq!(settings_of(&self.theirs), self.before, "the terminal's settings");
        let is_back = |text: &str| {
            let last = |on: &str, off: &str| text.rfind(off) > text.rfind(on) && text.contains(on);
            last("\u{1b}[?1049h", "\u{1b}[?1049l")
                && last("\u{1b}[?25l", "\u{1b}[?25h")
                && last("\u{1b}[?7l", "\u{1b}[?7h")
        };
        wait_until("screen, cursor and wrapping are back", LONG, || is_back(&self.text()));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn without_escapes(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| c.is_ascii_alphabetic()).map_or(part.len(), |end| end + 1);
        plain.push_str(&part[end..]);
    }
    plain
}

#[test]
fn a_terminal_is_drawn_on_and_given_back() {
    let sink = sink(Behaviour::default());
    let (settings, manage) = with_manage(Settings::to("HTTP_2", &[sink.addr()]), "");
    let mut connector = settings.start();
    let url = format!("http://{manage}");
    let mut terminal = Terminal::start(80, 24, &["--url", &url]);
    terminal.wait_for("No record has come yet.");
    terminal.wait_for(&format!("q quits · asked every 1 s · {url}"));
    assert_eq!(one_record(connector.addr(), 1), 0);
    terminal.wait_for("● 0 delivered 1 (");
    assert!(terminal.text().contains("\u{1b}[32m"), "colours");
    assert_ne!(settings_of(&terminal.theirs), terminal.before, "keys come one by one");
    let check = |terminal: &Terminal, columns: usize, rows: usize| {
        let last = terminal.pictures().pop().unwrap();
        assert_eq!(last.len(), rows, "{last:#?}");
        assert!(last.iter().all(|line| line.width() <= columns), "{last:#?}");
    };
    check(&terminal, 80, 24);
    let size = libc::winsize { ws_row: 30, ws_col: 40, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is a terminal's, and the size is read only.
    unsafe { libc::ioctl(terminal.ours.as_ref().unwrap().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    terminal.wait_for("latency (2 of 7)");
    check(&terminal, 40, 30);
    terminal.press(b"x");
    terminal.press(b"q");
    terminal.ends_well();

    // SIGTERM, and Ctrl-C, which is a key there.
    let mut terminal = Terminal::start(80, 24, &["--url", &url]);
    terminal.wait_for("● 0 delivered 1 (");
    terminal.press(&[3]);
    terminal.ends_well();
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGHUP] {
        let mut terminal = Terminal::start(80, 24, &["--url", &url]);
        terminal.wait_for("● 0 delivered 1 (");
        terminal.signal(signal);
        terminal.ends_well();
    }

    // A terminal that hangs up leaves nothing behind.
    let mut terminal = Terminal::start(80, 24, &["--url", &url]);
    terminal.wait_for("● 0 delivered 1 (");
    terminal.signal(libc::SIGHUP); // What the end of a session does.
    drop(terminal.ours.take());
    wait_until("it ends", LONG, || terminal.child.try_wait().unwrap().is_some());

    // One picture is no screen of its own, and may have colours.
    for (no_colour, has_escapes) in [("", true), ("1", false)] {
        let mut command = command(&["--once", "--url", &url]);
        command.env("NO_COLOR", no_colour);
        let mut terminal = Terminal::start_with(80, 24, command);
        wait_until("it ends", LONG, || terminal.child.try_wait().unwrap().is_some());
        wait_until("it is drawn", LONG, || terminal.text().contains("XDR connections"));
        let text = terminal.text();
        assert_eq!((text.contains("\u{1b}[1m"), text.contains("\u{1b}[?")), (has_escapes, false), "{text}");
    }
    connector.stop();
}

#[test]
fn a_terminal_that_takes_nothing_does_not_keep_it() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let mut terminal = Terminal::start(80, 24, &["--url", &url]);
    terminal.wait_for("✕ No figures. http://");
    // SAFETY: the descriptor is a terminal's.
    assert_eq!(unsafe { libc::tcflow(terminal.theirs.as_raw_fd(), libc::TCOOFF) }, 0);
    let call = format!("/proc/{}/syscall", terminal.child.id());
    wait_until("it writes, to descriptor 1", LONG, || {
        std::fs::read_to_string(&call).unwrap().split_whitespace().nth(1) == Some("0x1")
    });
    terminal.signal(libc::SIGTERM);
    assert_eq!(terminal.code(), Some(1));
    assert_eq!(settings_of(&terminal.theirs), terminal.before, "the terminal's settings");
}

#[test]
#[ignore = "a_panic_gives_the_terminal_back runs it in a terminal of its own"]
fn panics_in_a_window() {
    let window = Window::open().unwrap();
    if std::env::var("PANICS").unwrap() == "main" {
        panic!("planted in main");
    }
    assert!(std::thread::spawn(|| panic!("planted in a thread")).join().is_err());
    drop(window);
}

#[test]
fn a_panic_gives_the_terminal_back() {
    // The binary has no panic to order: the window is opened by a test of this file, in a process and a terminal of its own.
    for (place, words, code) in [("main", "planted in main", 101), ("thread", "planted in a thread", 0)] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "panics_in_a_window", "--ignored", "--nocapture", "--test-threads=1"]);
        command.env("PANICS", place);
        let mut terminal = Terminal::start_with(80, 24, command);
        terminal.ends_with(code);
        wait_until("it says what happened", LONG, || terminal.text().contains(words));
        let text = terminal.text();
        let back = text.find("\u{1b}[?1049l").unwrap();
        assert!(text.find(words).unwrap() > back, "it stands on the screen that stays: {text:?}");
        assert_eq!(text.matches("\u{1b}[?1049l").count(), 1, "once: {text:?}");
    }
}

#[test]
fn a_connector_that_goes_and_comes_is_waited_for() {
    let sink = sink(Behaviour::default());
    let (settings, manage) = with_manage(Settings::to("HTTP_2", &[sink.addr()]), "");
    let mut terminal = Terminal::start(100, 30, &["--url", &format!("http://{manage}")]);
    terminal.wait_for("✕ No figures. http://");
    terminal.wait_for("Is the connector running, with service.manage and");
    let mut connector = settings.start();
    terminal.wait_for("No record has come yet.");
    assert_eq!(one_record(connector.addr(), 1), 0);
    terminal.wait_for("● 0 delivered 1 (");
    connector.stop();
    terminal.wait_for("All below is as it was");
    terminal.wait_for("● 0 delivered 1 (");
    let mut connector = settings.start();
    terminal.wait_for("No record has come yet.");
    terminal.press(b"Q");
    terminal.ends_well();
    connector.stop();
}
