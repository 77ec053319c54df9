//! An HTTP/1.1 server that takes requests apart byte by byte and forgives nothing, for what a library would smooth over:
//! a header that came in twice, a value that broke its line.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// In the order of arrival, names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// All values of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    /// Its value, if it is there; it must not be there twice.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} came {} times: {:?}", all.len(), self.headers);
        all.first().copied()
    }
}

/// The server; it ends with the test.
#[derive(Debug)]
pub struct RawServer {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Result<Request, String>>>>,
}

impl RawServer {
    pub fn start() -> RawServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let seen = Arc::clone(&theirs);
                std::thread::spawn(move || serve(stream.unwrap(), &seen));
            }
        });
        RawServer { address, seen }
    }

    /// The requests up to now; anything else that came fails the test.
    #[track_caller]
    pub fn requests(&self) -> Vec<Request> {
        let all = self.seen.lock().unwrap().clone();
        all.into_iter().map(|seen| seen.unwrap_or_else(|broken| panic!("{broken}"))).collect()
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Result<Request, String>>>) {
    let mut bytes = Vec::new();
    loop {
        match parse(&bytes) {
            Ok(Some((request, length))) => {
                bytes.drain(..length);
                seen.lock().unwrap().push(Ok(request));
                if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_err() {
                    return;
                }
            }
            Ok(None) => {
                let mut chunk = [0; 16384];
                match stream.read(&mut chunk) {
                    Ok(count @ 1..) => bytes.extend_from_slice(&chunk[..count]),
                    _ => return,
                }
            }
            Err(broken) => return seen.lock().unwrap().push(Err(broken)),
        }
    }
}

/// The first request and its length; `None`: there is more to come.
fn parse(bytes: &[u8]) -> Result<Option<(Request, usize)>, String> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8(bytes[..end].to_vec()).map_err(|error| format!("head: {error}"))?;
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    if first != "POST /records HTTP/1.1" {
        return Err(format!("request line {first:?}"));
    }
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(": ").ok_or_else(|| format!("header line {line:?}"))?;
        let is_token =
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        let is_plain = value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if !is_token || !is_plain || value.trim() != value || value.is_empty() {
            return Err(format!("header line {line:?}"));
        }
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let request = Request { headers, body: Vec::new() };
    let length = match request.all("content-length").as_slice() {
        [one] => one.parse::<usize>().map_err(|error| format!("content-length {one}: {error}"))?,
        other => return Err(format!("content-length {other:?}")),
    };
    let start = end + 4;
    let Some(body) = bytes.get(start..start + length) else { return Ok(None) };
    Ok(Some((Request { body: body.to_vec(), ..request }, start + length)))
}
