//! Asks the manage port, as a client of a few lines that shares nothing with its server.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::{LONG, Settings, free_port};

/// The official paths.
pub const BASE: &str = "/manage/rest/v1";

/// Adds a manage port on 127.0.0.1.
pub fn with_manage(mut settings: Settings, more: &str) -> (Settings, SocketAddr) {
    let port = free_port();
    settings.service.push(format!("manage: {{ port: {port}, address: 127.0.0.1{more} }}"));
    (settings, SocketAddr::from(([127, 0, 0, 1], port)))
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// In small letters.
    pub head: String,
    pub body: String,
}

/// Sends a request as it is, and reads until the end of the connection.
pub fn ask_raw(to: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// GET, with further headers, each with its end of line.
pub fn ask(to: SocketAddr, path: &str, headers: &str) -> Answer {
    let host = if headers.to_ascii_lowercase().contains("host:") { String::new() } else { format!("Host: {to}\r\n") };
    ask_raw(to, &format!("GET {path} HTTP/1.1\r\n{host}{headers}Connection: close\r\n\r\n"))
}

/// The series of the page for Prometheus: name with labels, as written, to value.
pub fn series(to: SocketAddr) -> BTreeMap<String, f64> {
    let answer = ask(to, &format!("{BASE}/prometheus"), "");
    assert_eq!(answer.status, 200, "{answer:?}");
    let lines = answer.body.lines().filter(|line| !line.starts_with('#'));
    let pair = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    let mut all = BTreeMap::new();
    for (name, value) in lines.map(pair) {
        assert!(all.insert(name.clone(), value).is_none(), "{name} is there twice");
    }
    all
}

/// Waits until series say what they have to, since executors publish four times a second.
#[track_caller]
pub fn settled(manage: SocketAddr, expected: &[(String, u64)]) -> BTreeMap<String, f64> {
    let deadline = Instant::now() + LONG;
    loop {
        let all = series(manage);
        let wrong = expected.iter().find(|(name, value)| all.get(name) != Some(&(*value as f64)));
        let Some((name, value)) = wrong else { return all };
        assert!(Instant::now() < deadline, "{name} is {:?} and not {value}", all.get(name));
        std::thread::sleep(Duration::from_millis(50));
    }
}
