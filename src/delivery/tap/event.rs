//! A record that was followed as a line of JSON.

use std::fmt::{Display, Write};
use std::time::Duration;

use super::{Call, Followed, Message, Sent, TEXT_BYTES, Word};
use crate::format::{ContentType, Formatter, Notes};
use crate::logging;
use crate::metrics::recorder::nanos;
use crate::record::{self, ChangeRecord, Hex, Operation, UserKey};
use crate::wire::ack;

/// Bytes of a reason, or of the value of a header.
const WORDS_BYTES: usize = 1024;

/// As much of a reason, or of a name of others, as is shown.
pub(super) fn cut(text: &str) -> &str {
    logging::cut(text, WORDS_BYTES)
}

/// A JSON object that is being written. Members stand in the order in which they are put.
struct Object(String);

impl Object {
    fn new() -> Object {
        Object("{".to_owned())
    }

    /// `json` is a JSON value.
    fn raw(&mut self, name: &str, json: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        let _ = write!(self.0, "{}:{json}", quoted(name));
    }

    fn text(&mut self, name: &str, text: &str) {
        self.raw(name, &quoted(text));
    }

    fn number(&mut self, name: &str, number: impl Display) {
        self.raw(name, &number.to_string());
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The line of a record that `executor` had.
pub(super) fn line(followed: &Followed, executor: usize, formatter: &mut Formatter) -> String {
    let mut object = Object::new();
    object.text("at", &logging::utc(followed.arrival.unix_ms));
    object.number("executor", executor);
    if let Some(peer) = followed.arrival.peer {
        object.text("peer", &peer.to_string());
    }
    if let Some(port) = followed.arrival.port {
        object.number("port", port);
    }
    content(&mut object, followed, formatter);
    if let Some(fault) = &followed.fault {
        object.text("fault", fault);
    }
    if let Some(note) = &followed.note {
        object.text("note", note);
    }
    let calls: Vec<String> = followed.calls.iter().map(call).collect();
    object.raw("destinations", &format!("[{}]", calls.join(",")));
    if let Some((code, _)) = followed.code {
        object.number(if followed.is_unheard() { "unheard" } else { "code" }, code);
    }
    object.text("outcome", outcome(followed));
    object.raw("timings_us", &timings(followed));
    let mut line = object.end();
    line.push('\n');
    line
}

/// In the words of the official connector, and one more: it counts what it answers.
fn outcome(followed: &Followed) -> &'static str {
    let is_taken = followed.calls.iter().any(|call| call.word == Some(Word::Success));
    match (followed.code, &followed.fault) {
        (Some(_), _) if followed.is_unheard() => "unheard",
        (Some((ack::OK, _)), _) if is_taken => "success",
        (Some((ack::OK, _)), _) => "skipped",
        (_, Some(_)) => "parse-error",
        (Some(_), None) => "error",
        (None, None) => "unknown",
    }
}

/// What the message says.
fn content(object: &mut Object, followed: &Followed, formatter: &mut Formatter) {
    let bytes = match &followed.message {
        Message::Kept(bytes) => bytes,
        Message::Left(bytes) => {
            object.number("message_bytes", bytes);
            return object.text("record_left_out", "the message has more bytes than a tap keeps");
        }
    };
    object.number("message_bytes", bytes.len());
    let Ok(record) = record::decode(bytes) else { return };
    names(object, &record);
    let mut json = Vec::new();
    match formatter.encode(&record, followed.arrival.unix_ms, &mut json, &mut Notes::default()) {
        Ok(()) => {
            // The formatter writes UTF-8.
            let text = String::from_utf8_lossy(&json);
            if text.len() <= TEXT_BYTES {
                object.raw("record", &text);
            } else {
                object.number("record_bytes", text.len());
                object.text("record_cut", logging::cut(&text, TEXT_BYTES));
            }
        }
        Err(fault) => object.text("record_left_out", cut(&fault.to_string())),
    }
}

fn names(object: &mut Object, record: &ChangeRecord<'_>) {
    object.text("namespace", cut(&String::from_utf8_lossy(record.namespace)));
    if let Some(set) = record.set {
        object.text("set", cut(&String::from_utf8_lossy(set)));
    }
    object.text("digest", &Hex(record.digest).to_string());
    match record.user_key {
        Some(UserKey::Int(key)) => object.number("user_key", key),
        Some(UserKey::Float(key)) if key.is_finite() => object.number("user_key", key),
        Some(UserKey::Float(key)) => object.text("user_key", &key.to_string()),
        Some(UserKey::Str(key)) => object.text("user_key", cut(&String::from_utf8_lossy(key))),
        Some(UserKey::Bytes(key)) => object.text("user_key", &base64(key.get(..WORDS_BYTES).unwrap_or(key))),
        None => {}
    }
    let is_write = record.operation == Operation::Write;
    object.text("operation", if is_write { "write" } else { "delete" });
    if let Some(generation) = record.generation {
        object.number("generation", generation);
    }
    if let Some(lut) = record.lut_ms {
        object.number("lut", lut);
    }
}

fn base64(bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}

fn call(call: &Call) -> String {
    let mut object = Object::new();
    object.text("name", &call.name);
    object.text("url", &call.url);
    if let Some(sent) = &call.sent {
        request(&mut object, sent);
    }
    if let Some((place, records)) = call.batch {
        object.number("batch", records);
        object.number("batch_place", place);
    }
    object.number("attempts", call.tries);
    if let Some(status) = call.status {
        object.number("status", status);
    }
    object.text(
        "outcome",
        match call.word {
            Some(Word::Success) => "success",
            Some(Word::Refused) => "refused",
            Some(Word::Error) => "error",
            Some(Word::NotSent) => "not-sent",
            None => "unknown",
        },
    );
    if let Some(error) = &call.error {
        object.text("error", error);
    }
    for (name, time) in [("queue_us", call.waited), ("response_us", call.response)] {
        if let Some(time) = time {
            object.raw(name, &micros(time));
        }
    }
    object.end()
}

fn request(object: &mut Object, sent: &Sent) {
    object.text("protocol", sent.protocol);
    object.text("method", sent.start.0);
    object.text("path", &sent.start.1);
    if !sent.headers.is_empty() {
        let mut headers = Object::new();
        for (name, value) in &sent.headers {
            headers.text(name, value);
        }
        object.raw("request_headers", &headers.end());
    }
    object.number("body_bytes", sent.body_bytes);
    let is_cut = sent.body.len() < sent.body_bytes;
    match text_of(&sent.body, sent.content, is_cut) {
        Some(text) => object.text("body", text),
        None => object.text("body_base64", &base64(&sent.body)),
    }
    if is_cut {
        object.raw("body_cut", "true");
    }
}

/// A body that is text. Where it was cut, a letter may be cut in two.
fn text_of(body: &[u8], content: ContentType, is_cut: bool) -> Option<&str> {
    if !matches!(content, ContentType::Json | ContentType::NdJson) {
        return None;
    }
    match std::str::from_utf8(body) {
        Ok(text) => Some(text),
        Err(error) if is_cut && error.error_len().is_none() => {
            body.get(..error.valid_up_to()).and_then(|valid| std::str::from_utf8(valid).ok())
        }
        Err(_) => None,
    }
}

fn timings(followed: &Followed) -> String {
    let mut object = Object::new();
    let mut put = |name: &str, time: Duration| object.raw(name, &micros(time));
    put("receive-wait", followed.began.since(followed.arrived));
    put("decode", followed.decoded.since(followed.began));
    if let [Some(began), Some(done)] = followed.encoded {
        put("encode", done.since(began));
    }
    // The slowest destination is what the code waited for.
    let slowest =
        followed.calls.iter().max_by_key(|call| call.waited.unwrap_or_default() + call.response.unwrap_or_default());
    if let Some(waited) = slowest.and_then(|call| call.waited) {
        put("queue-wait", waited);
    }
    if let Some(response) = slowest.and_then(|call| call.response) {
        put("response", response);
    }
    match (followed.released, followed.code) {
        (Some((waited, total)), _) => {
            put("ack-wait", waited);
            put("total", total);
        }
        (None, Some((_, known))) => put("total", known.since(followed.arrived)),
        (None, None) => {}
    }
    object.end()
}

fn micros(time: Duration) -> String {
    let nanos = nanos(time);
    format!("{}.{:03}", nanos / 1000, nanos % 1000)
}
