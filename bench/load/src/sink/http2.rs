//! HTTP/2 server connection over the `h2` crate: one task for all streams, answers given in batches.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response, StatusCode};
use tokio::time::{Instant, Sleep};

use super::behaviour::{Fault, Goodbye, Plan};
use super::ledger::Answer;
use super::records::Content;
use super::{LoggedRequest, Peer, Received};
use crate::record::Identity;
use crate::tls::Stream;

/// Flow-control windows, large enough never to stand in the way of records.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// A slow reader leaves the window that RFC 9113 starts with.
const SLOW_WINDOW: u32 = 65_535;

/// A request whose body is being read.
struct Reading {
    respond: SendResponse<Bytes>,
    body: RecvStream,
    received: Received,
    keeps: bool,
    plan: Plan,
    /// A slow reader's next look at the body.
    not_before: Option<Instant>,
}

/// A request that waits for its answer.
struct Waiting {
    respond: SendResponse<Bytes>,
    answer: Answer,
    plan: Plan,
}

struct Connection {
    h2: h2::server::Connection<Stream, Bytes>,
    peer: Peer,
    reading: Vec<Reading>,
    /// By time and number, so that equal times keep their order.
    waiting: BTreeMap<(Instant, u64), Waiting>,
    next_number: u64,
    hung: Vec<SendResponse<Bytes>>,
    /// Cut answers: dropped with the connection, since a dropped stream would be reset in good order.
    cut: Vec<SendStream<Bytes>>,
    ready: Vec<Waiting>,
    timer: Pin<Box<Sleep>>,
    closing: bool,
    said_goodbye: bool,
}

pub(super) async fn serve(stream: Stream, mut peer: Peer) {
    let slow = !peer.behaviour().slow_read.is_zero();
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(if slow { SLOW_WINDOW } else { STREAM_WINDOW })
        .initial_connection_window_size(if slow { SLOW_WINDOW } else { CONNECTION_WINDOW })
        .max_concurrent_streams(peer.shared.config.max_concurrent_streams)
        // A test client may cancel all that it has, again and again.
        .max_concurrent_reset_streams(1 << 16)
        .max_pending_accept_reset_streams(1 << 16)
        .max_local_error_reset_streams(None);
    let Ok(h2) = builder.handshake(stream).await else { return };
    let mut connection = Connection {
        h2,
        peer,
        reading: Vec::new(),
        waiting: BTreeMap::new(),
        next_number: 0,
        hung: Vec::new(),
        cut: Vec::new(),
        ready: Vec::new(),
        timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
        closing: false,
        said_goodbye: false,
    };
    std::future::poll_fn(|cx| connection.poll(cx)).await;
}

impl Connection {
    /// Ready when the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            // Reads all that the socket has, and writes all that was answered before.
            while let Some(accepted) = ready_or_none(self.h2.poll_accept(cx)) {
                match accepted {
                    Some(Ok((request, respond))) => self.accept(request, respond),
                    Some(Err(_)) | None => return Poll::Ready(()),
                }
            }
            if self.closing {
                return Poll::Ready(());
            }
            self.read(cx);
            self.take_due();
            self.hung.retain_mut(|respond| respond.poll_reset(cx).is_pending());
            if self.answer() {
                continue;
            }
            ready!(self.poll_timer(cx));
        }
    }

    fn accept(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        if request.method() != http::Method::POST {
            return self.probe(&request.into_parts().0, respond);
        }
        let (plan, last) = self.peer.plan();
        let slow = self.peer.behaviour().slow_read;
        let (head, body) = request.into_parts();
        let digest = head.headers.get("aerospike-digest");
        let identity = digest.and_then(|value| Identity::from_header(value.as_bytes()));
        let kind = head.headers.get(http::header::CONTENT_TYPE);
        let content = kind.map_or(Content::Other, |kind| Content::of(kind.as_bytes()));
        let encoding = head.headers.get(http::header::CONTENT_ENCODING);
        let gzip = encoding.is_some_and(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"gzip"));
        let keeps = self.peer.keeps_body(identity);
        let logged = self.peer.logs().then(|| log(&head));
        let received = Received { identity, body: Vec::new(), length: 0, content, gzip, verify: keeps, head: logged };
        let not_before = (!slow.is_zero()).then(|| Instant::now() + slow);
        self.reading.push(Reading { respond, body, received, keeps, plan, not_before });
        if last && !self.said_goodbye {
            self.said_goodbye = true;
            match self.peer.behaviour().goodbye {
                Goodbye::Announced => self.h2.graceful_shutdown(),
                Goodbye::Abrupt => self.h2.abrupt_shutdown(Reason::NO_ERROR),
            }
        }
    }

    /// A request without a record.
    fn probe(&mut self, request: &http::request::Parts, mut respond: SendResponse<Bytes>) {
        let is_head = request.method == http::Method::HEAD;
        let plan = self.peer.probe(log(request));
        match plan.fault {
            Some(fault) => {
                self.closing |= fail(&mut respond, fault, &mut self.cut);
                self.hung.push(respond);
            }
            // The client may have gone.
            None => drop(answer(&mut respond, head(plan.status, None), if is_head { 0 } else { 2 })),
        }
    }

    /// Reads bodies; a complete request moves on to its answer.
    fn read(&mut self, cx: &mut Context<'_>) {
        let slow = self.peer.behaviour().slow_read;
        let mut at = 0;
        while let Some(reading) = self.reading.get_mut(at) {
            match reading.poll(cx, slow) {
                Poll::Pending => at += 1,
                Poll::Ready(complete) => {
                    let done = self.reading.swap_remove(at);
                    if complete {
                        let answer = self.peer.received(done.received, done.plan);
                        self.queue(Waiting { respond: done.respond, answer, plan: done.plan });
                    }
                }
            }
        }
    }

    fn queue(&mut self, waiting: Waiting) {
        if waiting.plan.delay.is_zero() {
            self.ready.push(waiting);
        } else {
            self.next_number += 1;
            self.waiting.insert((Instant::now() + waiting.plan.delay, self.next_number), waiting);
        }
    }

    fn take_due(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some(entry) = self.waiting.first_entry()
            && entry.key().0 <= now
        {
            self.ready.push(entry.remove());
        }
    }

    /// Answers all that is ready; false if nothing was.
    fn answer(&mut self) -> bool {
        if self.ready.is_empty() {
            return false;
        }
        let length = self.peer.behaviour().body_bytes;
        let wait = self.peer.behaviour().retry_after.clone();
        let mut books = self.peer.shared.ledger.lock();
        for mut waiting in self.ready.drain(..) {
            if let Some(fault) = waiting.plan.fault {
                books.answered(&Answer::default());
                self.closing |= fail(&mut waiting.respond, fault, &mut self.cut);
                self.hung.push(waiting.respond);
                continue;
            }
            books.answered(&waiting.answer);
            let head = head(waiting.answer.status, wait.as_deref());
            if answer(&mut waiting.respond, head, length).is_err() {
                // The client cancelled it meanwhile.
                books.unanswered(&waiting.answer);
            }
        }
        true
    }

    /// Pending until the next answer or slow read is due; ready when one is.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let answer = self.waiting.first_key_value().map(|((at, _), _)| *at);
        let read = self.reading.iter().filter_map(|reading| reading.not_before).min();
        let Some(at) = answer.into_iter().chain(read).min() else { return Poll::Pending };
        if self.timer.deadline() != at {
            self.timer.as_mut().reset(at);
        }
        self.timer.as_mut().poll(cx)
    }
}

fn ready_or_none<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

impl Reading {
    /// Ready(true): the body is complete; Ready(false): the client gave it up.
    fn poll(&mut self, cx: &mut Context<'_>, slow: Duration) -> Poll<bool> {
        loop {
            if let Some(at) = self.not_before {
                if Instant::now() < at {
                    return Poll::Pending;
                }
                self.not_before = None;
            }
            match ready!(self.body.poll_data(cx)) {
                Some(Ok(data)) => {
                    self.received.length += data.len();
                    if self.keeps {
                        self.received.body.extend_from_slice(&data);
                    }
                    // Fails only when the stream is gone; the next poll says so.
                    let _ = self.body.flow_control().release_capacity(data.len());
                    if !slow.is_zero() {
                        self.not_before = Some(Instant::now() + slow);
                    }
                }
                Some(Err(_)) => return Poll::Ready(false),
                None => return Poll::Ready(true),
            }
        }
    }
}

fn head(status: u16, retry_after: Option<&str>) -> Response<()> {
    let mut response = Response::new(());
    if let Some(value) = retry_after.and_then(|text| http::HeaderValue::from_str(text).ok()) {
        response.headers_mut().insert(http::header::RETRY_AFTER, value);
    }
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

fn answer(respond: &mut SendResponse<Bytes>, head: Response<()>, length: usize) -> Result<(), h2::Error> {
    let mut stream = respond.send_response(head, length == 0)?;
    if length > 0 {
        stream.send_data(Bytes::from(vec![b'x'; length]), true)?;
    }
    Ok(())
}

/// True if the connection is to close.
fn fail(respond: &mut SendResponse<Bytes>, fault: Fault, cut: &mut Vec<SendStream<Bytes>>) -> bool {
    match fault {
        Fault::Hang => false,
        Fault::Reset => {
            respond.send_reset(Reason::INTERNAL_ERROR);
            false
        }
        Fault::Refuse => {
            respond.send_reset(Reason::REFUSED_STREAM);
            false
        }
        Fault::CloseBeforeAnswer => true,
        Fault::CloseAfterHead | Fault::CloseMidBody => {
            let mut response = head(200, None);
            response.headers_mut().insert(http::header::CONTENT_LENGTH, http::HeaderValue::from_static("4"));
            if let Ok(mut stream) = respond.send_response(response, false) {
                if fault == Fault::CloseMidBody {
                    // The connection closes next, sent or not.
                    let _ = stream.send_data(Bytes::from_static(b"xx"), false);
                }
                cut.push(stream);
            }
            true
        }
    }
}

fn log(head: &http::request::Parts) -> LoggedRequest {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let host = head.uri.authority().map(|authority| (String::from("host"), authority.to_string()));
    let lines = head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value)));
    LoggedRequest {
        number: 0,
        version: "HTTP/2",
        method: head.method.to_string(),
        path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: host.into_iter().chain(lines).collect(),
        body: Vec::new(),
    }
}
