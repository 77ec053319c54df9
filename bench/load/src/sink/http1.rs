//! HTTP/1.1 server connection: pipelined requests with Content-Length, answers cut where the behaviour says.

use std::io::Write;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::behaviour::{Fault, Goodbye};
use super::ledger::Answer;
use super::records::Content;
use super::{LoggedRequest, Peer, Received};
use crate::record::Identity;
use crate::tls::Stream;

/// Most header lines of a request.
const HEADERS: usize = 64;
/// Largest request head, and largest body.
const HEAD_LIMIT: usize = 64 << 10;
const BODY_LIMIT: usize = 64 << 20;
/// Bytes of one read.
const READ_BYTES: usize = 64 << 10;
/// Part of a body that a slow reader takes at once.
const SLOW_READ_BYTES: usize = 4 << 10;

/// A request head, taken apart.
struct Head {
    identity: Option<Identity>,
    length: usize,
    content: Content,
    gzip: bool,
    expects_continue: bool,
    close: bool,
    /// Another method than POST.
    is_probe: bool,
    logged: Option<LoggedRequest>,
}

enum Parsed {
    /// Bytes of the head, and the head.
    Complete(usize, Head),
    Partial,
    /// Status to answer before closing.
    Bad(u16),
}

struct Connection {
    stream: Stream,
    peer: Peer,
    input: Vec<u8>,
    read_to: usize,
    output: Vec<u8>,
    /// Answers in `output`: entered, taken back if the write fails.
    unwritten: Vec<Answer>,
}

/// Marks the end of a connection.
struct Ended;

pub(super) async fn serve(stream: Stream, peer: Peer) {
    let (input, output, unwritten) = (Vec::with_capacity(READ_BYTES), Vec::new(), Vec::new());
    let mut connection = Connection { stream, peer, input, read_to: 0, output, unwritten };
    while connection.step().await.is_ok() {}
}

impl Connection {
    /// One request, or one read when none is complete.
    async fn step(&mut self) -> Result<(), Ended> {
        let pending = self.input.get(self.read_to..).unwrap_or_default();
        if pending.is_empty() {
            return self.fill().await;
        }
        match parse(pending, self.peer.logs()) {
            Parsed::Complete(length, head) => {
                self.read_to += length;
                self.request(head).await
            }
            Parsed::Partial if pending.len() > HEAD_LIMIT => self.reject(431).await,
            Parsed::Partial => self.fill().await,
            Parsed::Bad(status) => self.reject(status).await,
        }
    }

    async fn reject(&mut self, status: u16) -> Result<(), Ended> {
        // It closes either way.
        let _ = write!(self.output, "HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        self.flush().await?;
        Err(Ended)
    }

    /// Writes what is pending, then reads once.
    async fn fill(&mut self) -> Result<(), Ended> {
        self.flush().await?;
        self.input.drain(..self.read_to);
        self.read_to = 0;
        self.input.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.input).await {
            Ok(0) | Err(_) => Err(Ended),
            Ok(_) => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        if self.output.is_empty() {
            return Ok(());
        }
        let mut written = self.stream.write_all(&self.output).await;
        if written.is_ok() {
            written = self.stream.flush().await;
        }
        if written.is_err() {
            let mut books = self.peer.shared.ledger.lock();
            self.unwritten.iter().for_each(|answer| books.unanswered(answer));
        }
        self.output.clear();
        self.unwritten.clear();
        written.map_err(|_| Ended)
    }

    /// A request without a record.
    async fn probe(&mut self, head: Option<LoggedRequest>) -> Result<(), Ended> {
        let Some(head) = head else { return Err(Ended) };
        let is_head = head.method == "HEAD";
        let plan = self.peer.probe(head);
        if let Some(fault) = plan.fault {
            return self.fail(fault).await;
        }
        let body = if is_head { "" } else { "ok" };
        let _ = write!(self.output, "HTTP/1.1 {} x\r\ncontent-length: 2\r\n\r\n{body}", plan.status);
        Ok(())
    }

    async fn request(&mut self, head: Head) -> Result<(), Ended> {
        if head.is_probe {
            return self.probe(head.logged).await;
        }
        if head.length > BODY_LIMIT {
            return self.reject(413).await;
        }
        if head.expects_continue {
            self.output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let (plan, last) = self.peer.plan();
        let slow = self.peer.behaviour().slow_read;
        let keeps = self.peer.keeps_body(head.identity);
        let mut received = Received {
            identity: head.identity,
            body: Vec::new(),
            length: head.length,
            content: head.content,
            gzip: head.gzip,
            verify: keeps,
            head: head.logged,
        };
        let mut missing = head.length;
        while missing > 0 {
            let available = self.input.get(self.read_to..).unwrap_or_default();
            let take = missing.min(available.len()).min(if slow.is_zero() { usize::MAX } else { SLOW_READ_BYTES });
            if take == 0 {
                self.fill().await?;
                continue;
            }
            if keeps {
                received.body.extend_from_slice(available.get(..take).unwrap_or_default());
            }
            self.read_to += take;
            missing -= take;
            if !slow.is_zero() {
                self.flush().await?;
                tokio::time::sleep(slow).await;
            }
        }
        let answer = self.peer.received(received, plan);
        if !plan.delay.is_zero() {
            self.flush().await?;
            tokio::time::sleep(plan.delay).await;
        }
        match plan.fault {
            Some(fault) => {
                self.peer.shared.ledger.lock().answered(&Answer::default());
                self.fail(fault).await
            }
            None => self.answer(answer, last, head.close).await,
        }
    }

    async fn answer(&mut self, answer: Answer, last: bool, asked_to_close: bool) -> Result<(), Ended> {
        let close = if (last && self.peer.behaviour().goodbye == Goodbye::Announced) || asked_to_close {
            "connection: close\r\n"
        } else {
            ""
        };
        let length = self.peer.behaviour().body_bytes;
        let wait = self.peer.behaviour().retry_after.as_ref().map(|it| format!("retry-after: {it}\r\n"));
        let wait = wait.unwrap_or_default();
        // Writing to a Vec does not fail.
        let _ = write!(self.output, "HTTP/1.1 {} x\r\n{close}{wait}content-length: {length}\r\n\r\n", answer.status);
        self.output.resize(self.output.len() + length, b'x');
        self.peer.shared.ledger.lock().answered(&answer);
        self.unwritten.push(answer);
        if last || asked_to_close {
            self.flush().await?;
            return Err(Ended);
        }
        Ok(())
    }

    /// No answer, or a part of one: never a success.
    async fn fail(&mut self, fault: Fault) -> Result<(), Ended> {
        match fault {
            Fault::Hang => {
                self.flush().await?;
                return self.hang().await;
            }
            Fault::CloseBeforeAnswer | Fault::Reset | Fault::Refuse => {}
            Fault::CloseAfterHead => self.output.extend_from_slice(b"HTTP/1.1 200 x\r\ncontent-length: 4\r\n\r\n"),
            Fault::CloseMidBody => self.output.extend_from_slice(b"HTTP/1.1 200 x\r\ncontent-length: 4\r\n\r\nxx"),
        }
        self.flush().await?;
        Err(Ended)
    }

    /// Reads on until the client goes away, and answers nothing.
    async fn hang(&mut self) -> Result<(), Ended> {
        loop {
            self.input.clear();
            self.read_to = 0;
            if matches!(self.stream.read_buf(&mut self.input).await, Ok(0) | Err(_)) {
                return Err(Ended);
            }
        }
    }
}

fn parse(bytes: &[u8], logs: bool) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Parsed::Partial,
        Err(_) => return Parsed::Bad(400),
    };
    let mut head = Head {
        identity: None,
        length: 0,
        content: Content::Other,
        gzip: false,
        expects_continue: false,
        close: false,
        is_probe: request.method.is_some_and(|method| method != "POST"),
        logged: None,
    };
    for header in request.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("aerospike-digest") {
            head.identity = Identity::from_header(header.value);
        } else if is("content-length") {
            match std::str::from_utf8(header.value).ok().and_then(|text| text.trim().parse().ok()) {
                Some(length) => head.length = length,
                None => return Parsed::Bad(400),
            }
        } else if is("transfer-encoding") {
            // The connector knows every length beforehand.
            return Parsed::Bad(411);
        } else if is("content-type") {
            head.content = Content::of(header.value);
        } else if is("content-encoding") {
            head.gzip = header.value.eq_ignore_ascii_case(b"gzip");
        } else if is("expect") {
            head.expects_continue = true;
        } else if is("connection") {
            head.close = header.value.eq_ignore_ascii_case(b"close");
        }
    }
    if logs || head.is_probe {
        let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
        head.logged = Some(LoggedRequest {
            number: 0,
            version: "HTTP/1.1",
            method: text(request.method),
            path: text(request.path),
            headers: request.headers.iter().map(|line| (line.name.to_ascii_lowercase(), lossy(line.value))).collect(),
            body: Vec::new(),
        });
    }
    Parsed::Complete(length, head)
}

fn lossy(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}
