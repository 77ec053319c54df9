//! The module rule of the design: what decides is pure. It knows no runtime, socket, clock, thread or file, so that the
//! simulation runs the same code as the program.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that fails may panic")]

mod source_rules;

use source_rules::{code_only, files, line_of, without_tests};

/// Modules that decide.
const PURE: [&str; 11] =
    ["wire", "record", "policy", "format", "delivery", "http", "config", "metrics", "time", "tls", "admin"];

/// Paths that pure modules may not name.
const FORBIDDEN: [&str; 28] = [
    "glommio",
    "libc",
    "socket2",
    "signal_hook",
    "core_affinity",
    "clap",
    "crate::io",
    "crate::cli",
    "crate::admin",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::net::ToSocketAddrs",
    "std::os",
    "std::thread",
    "std::process",
    "std::fs",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::sync::mpsc",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::Condvar",
    "tokio::net",
    "tokio::time",
    "tokio::runtime",
    "tokio::spawn",
    "tokio::task",
];

/// What only src/io may name.
const IO_ONLY: [&str; 1] = ["glommio"];

/// File, path, why it may.
const EXCEPTIONS: [(&str, &str, &str); 2] = [
    ("src/config/mod.rs", "std::fs", "reads the configuration file, once, before anything runs"),
    (
        "src/config/mod.rs",
        "std::time::SystemTime",
        "holds the dates of certificates against today, once, before anything runs",
    ),
];

#[derive(Debug, PartialEq, Eq)]
struct Breach {
    path: String,
    line: usize,
}

/// All paths that the code names: `use` trees unfolded, and paths in expressions and types, with the offset of each.
fn paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut rest = 0;
    while let Some(start) = next_use(code, rest) {
        let end = code[start..].find(';').map_or(code.len(), |length| start + length);
        unfold(&code[start..end], start, "", &mut found);
        rest = end;
    }
    for (at, _) in code.match_indices("::") {
        let letters = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
        let start = code[..at].rfind(|letter| !letters(letter)).map_or(0, |before| before + 1);
        let end = code[at..].find(|letter| !letters(letter)).map_or(code.len(), |length| at + length);
        found.push((start, code[start..end].trim_matches(':').to_owned()));
    }
    found.retain(|(_, path)| !path.is_empty());
    found
}

/// Where the tree of the next `use` begins.
fn next_use(code: &str, from: usize) -> Option<usize> {
    code[from..].match_indices("use ").map(|(at, _)| from + at).find_map(|at| {
        let starts = code[..at]
            .chars()
            .next_back()
            .is_none_or(|before| before.is_whitespace() || before == '{' || before == ';');
        starts.then_some(at + 4)
    })
}

/// `a::{b, c::{d, e}}` as `a::b`, `a::c::d`, `a::c::e`.
fn unfold(tree: &str, at: usize, prefix: &str, found: &mut Vec<(usize, String)>) {
    let (mut depth, mut start) = (0, 0);
    for (place, letter) in tree.char_indices().chain([(tree.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                branch(&tree[start..place], at + start, prefix, found);
                start = place + 1;
            }
            _ => {}
        }
    }
}

fn branch(branch: &str, at: usize, prefix: &str, found: &mut Vec<(usize, String)>) {
    let skipped = branch.len() - branch.trim_start().len();
    let (at, branch) = (at + skipped, branch.trim());
    match branch.split_once('{') {
        Some((head, rest)) => {
            let prefix = format!("{prefix}{}", head.split_whitespace().collect::<String>());
            let inner = rest.trim_end().strip_suffix('}').unwrap_or(rest);
            unfold(inner, at + head.len() + 1, &prefix, found);
        }
        None => {
            let name = branch.split_whitespace().next().unwrap_or_default();
            found.push((at, format!("{prefix}{name}").trim_end_matches("::self").trim_start_matches("::").to_owned()));
        }
    }
}

/// Forbidden paths in a source text. A whole module that is taken in (`use std::time;`) is judged by how it is used.
fn breaches(text: &str, forbidden: &[&str]) -> Vec<Breach> {
    let code = without_tests(&code_only(text));
    let all = paths(&code);
    let mut found = Vec::new();
    for (at, path) in &all {
        // `time::Instant` after `use std::time;`
        let alias = path.split_once("::").and_then(|(head, tail)| {
            let whole = all.iter().find(|(_, known)| {
                known.len() > head.len() && known.ends_with(&format!("::{head}")) && known.starts_with("std")
            })?;
            Some(format!("{}::{tail}", whole.1))
        });
        let glob = path.strip_suffix("::*").map(str::to_owned);
        let names = |rule: &str| {
            let is = |path: &str| path == rule || path.strip_prefix(rule).is_some_and(|rest| rest.starts_with("::"));
            is(path)
                || alias.as_deref().is_some_and(is)
                || glob.as_deref().is_some_and(|glob| rule.starts_with(&format!("{glob}::")))
        };
        if let Some(rule) = forbidden.iter().find(|rule| names(rule)) {
            let breach = Breach { path: (*rule).to_owned(), line: line_of(&code, *at) };
            if !found.contains(&breach) {
                found.push(breach);
            }
        }
    }
    found
}

fn read(file: &str) -> String {
    std::fs::read_to_string(source_rules::root().join(file)).unwrap()
}

/// Files of a module; those named tests.rs are test code.
fn files_of(module: &str) -> Vec<String> {
    let mut all = files(&format!("src/{module}"), "rs");
    all.extend(files("src", "rs").into_iter().filter(|file| *file == format!("src/{module}.rs")));
    all.retain(|file| !file.ends_with("/tests.rs"));
    all
}

#[test]
fn pure_modules_know_no_runtime_socket_clock_thread_or_file() {
    let mut faults = Vec::new();
    for module in PURE {
        let all = files_of(module);
        assert!(!all.is_empty(), "module {module} has no file");
        for file in all {
            for breach in breaches(&read(&file), &FORBIDDEN) {
                let is_excepted = EXCEPTIONS.iter().any(|(name, path, _)| *name == file && *path == breach.path);
                if !is_excepted {
                    faults.push(format!("{file}:{}: names {}, which pure modules may not", breach.line, breach.path));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn only_io_knows_the_runtime() {
    let outside = files("src", "rs").into_iter().filter(|file| !file.starts_with("src/io/"));
    let faults: Vec<String> = outside
        .flat_map(|file| {
            let found = breaches(&read(&file), &IO_ONLY);
            found
                .into_iter()
                .map(move |breach| format!("{file}:{}: names {}, which only src/io may", breach.line, breach.path))
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn each_exception_is_still_needed() {
    for (file, path, why) in EXCEPTIONS {
        let needed = breaches(&read(file), &FORBIDDEN).iter().any(|breach| breach.path == path);
        assert!(needed, "{file} no longer names {path} ({why}): take the exception out");
    }
}

#[test]
fn a_planted_breach_is_found_in_whatever_form() {
    let planted = [
        ("use glommio::timer::Timer;", "glommio", 1),
        ("use std::{\n    collections::VecDeque,\n    time::{Duration, Instant},\n};", "std::time::Instant", 3),
        ("fn f() { let t = std::time::SystemTime::now(); }", "std::time::SystemTime", 1),
        ("use std::time;\nfn f() { time::Instant::now(); }", "std::time::Instant", 2),
        ("use std::net::{IpAddr, TcpStream as Stream};", "std::net::TcpStream", 1),
        ("use std::time::*;", "std::time::Instant", 1),
        ("use crate::io::shell;", "crate::io", 1),
        ("fn f() { ::libc::getpid(); }", "libc", 1),
        ("\n\npub use std::fs::File;", "std::fs", 3),
        ("fn f() { tokio::spawn(x); }", "tokio::spawn", 1),
    ];
    for (text, path, line) in planted {
        let found = breaches(text, &FORBIDDEN);
        assert!(found.contains(&Breach { path: path.to_owned(), line }), "{text:?}: {found:?}");
    }
}

#[test]
fn comments_literals_tests_and_harmless_neighbours_are_no_breach() {
    let harmless = "//! like std::time::Instant\nuse std::net::{IpAddr, SocketAddr};\nuse std::time::Duration;\n\
        /* glommio::x /* nested */ */\nconst A: &str = \"std::fs::read\";\nconst B: &str = r#\"libc::x \"quoted\" \"#;\n\
        const C: char = '\"';\nfn f<'a>(x: &'a str) {}\nuse tokio::io::{AsyncRead, AsyncWrite};\n\
        #[cfg(test)]\nmod tests {\n    use std::time::Instant;\n    fn g() { { std::fs::read(\"x\"); } }\n}\nuse std::sync::Arc;\n";
    assert_eq!(breaches(harmless, &FORBIDDEN), []);
}
