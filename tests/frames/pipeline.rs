//! What the connector makes of bytes on a connection, without the connection.

use ringpost::config::model::Format;
use ringpost::format::{Formatter, Notes};
use ringpost::record::{self, ChangeRecord, DecodeLimits};
use ringpost::wire::compressed::Inflater;
use ringpost::wire::frame::{Assembler, FrameKind, FrameLimits};

pub const FRAME_LIMITS: FrameLimits = FrameLimits { max_frame_bytes: 16 << 20 };
pub const DECODE_LIMITS: DecodeLimits = DecodeLimits { max_depth: 256 };
/// When every record arrives: 2023-11-14T22:13:20.5Z.
pub const ARRIVAL_MS: u64 = 1_700_000_000_500;

/// What became of one frame.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Both formats of the record.
    Delivered { typed: String, flat: String, notes: Notes },
    /// Answered 10, with the reason.
    Rejected(String),
    /// The connection was closed, with the reason.
    Closed(String),
}

impl Outcome {
    /// `ok`, `10` or `close`.
    pub fn class(&self) -> &'static str {
        match self {
            Outcome::Delivered { .. } => "ok",
            Outcome::Rejected(_) => "10",
            Outcome::Closed(_) => "close",
        }
    }
}

/// What became of one frame in one format.
#[derive(Debug)]
pub enum Written {
    /// What is sent, and the message that the frame has inside.
    Delivered { sent: Vec<u8>, message: Vec<u8>, notes: Notes },
    /// Answered 10, with the reason.
    Rejected(String),
    /// The connection was closed, with the reason.
    Closed(String),
}

impl Written {
    /// `ok`, `10` or `close`.
    pub fn class(&self) -> &'static str {
        match self {
            Written::Delivered { .. } => "ok",
            Written::Rejected(_) => "10",
            Written::Closed(_) => "close",
        }
    }
}

/// What becomes of a connection that brings these pieces and then ends, and whether it ends inside a frame.
pub fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Outcome>, bool) {
    let mut formatters = formatters();
    let (rejected, closed) = (Outcome::Rejected, Outcome::Closed);
    each_frame(pieces, |message| deliver(&mut formatters, message).unwrap_or_else(rejected), rejected, closed)
}

/// What becomes of the frames in `bytes` in one format.
pub fn run_in(format: &Format, bytes: &[u8]) -> Vec<Written> {
    let mut formatter = Formatter::new(format, DECODE_LIMITS);
    let (rejected, closed) = (Written::Rejected, Written::Closed);
    let written = |message: &[u8]| {
        let written = record::decode(message).map_err(|error| error.to_string()).and_then(|record| {
            let mut notes = Notes::default();
            let sent = encode(&mut formatter, &record, &mut notes)?;
            Ok(Written::Delivered { sent, message: message.to_vec(), notes })
        });
        written.unwrap_or_else(rejected)
    };
    each_frame([bytes], written, rejected, closed).0
}

fn each_frame<'a, T>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    mut deliver: impl FnMut(&[u8]) -> T,
    rejected: fn(String) -> T,
    closed: fn(String) -> T,
) -> (Vec<T>, bool) {
    let mut assembler = Assembler::new(FRAME_LIMITS);
    let mut inflater = Inflater::new();
    let mut outcomes = Vec::new();
    for piece in pieces {
        let mut input = piece;
        loop {
            let frame = match assembler.next(&mut input) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    outcomes.push(closed(error.to_string()));
                    return (outcomes, false);
                }
            };
            let body = match frame.kind {
                FrameKind::Message => Ok(frame.body),
                FrameKind::Dropped => unreachable!("nothing is dropped here"),
                FrameKind::Compressed => inflater.inflate(frame.body, FRAME_LIMITS).map_err(|error| error.to_string()),
            };
            outcomes.push(body.map_or_else(rejected, &mut deliver));
        }
    }
    (outcomes, assembler.is_mid_frame())
}

/// What becomes of the only frame in `bytes`.
pub fn run_one(bytes: &[u8]) -> Outcome {
    let (mut outcomes, mid_frame) = run([bytes]);
    assert_eq!((outcomes.len(), mid_frame), (1, false));
    outcomes.remove(0)
}

fn formatters() -> [Formatter; 2] {
    let flat = Format::FlatJson { metadata_key: "metadata".into(), stringify_map_keys: true, text: Default::default() };
    [
        Formatter::new(&Format::Json { stringify_map_keys: true, text: Default::default() }, DECODE_LIMITS),
        Formatter::new(&flat, DECODE_LIMITS),
    ]
}

fn deliver(formatters: &mut [Formatter; 2], body: &[u8]) -> Result<Outcome, String> {
    let record = record::decode(body).map_err(|error| error.to_string())?;
    let mut notes = Notes::default();
    let mut texts = Vec::new();
    for formatter in formatters {
        notes = Notes::default();
        let sent = encode(formatter, &record, &mut notes)?;
        texts.push(String::from_utf8(sent).expect("JSON is UTF-8"));
    }
    let flat = texts.pop().unwrap();
    Ok(Outcome::Delivered { typed: texts.pop().unwrap(), flat, notes })
}

/// What the formatter appends to a buffer in use.
fn encode(formatter: &mut Formatter, record: &ChangeRecord<'_>, notes: &mut Notes) -> Result<Vec<u8>, String> {
    let mut out = b"rest of the chunk".to_vec();
    let kept = out.len();
    let result = formatter.encode(record, ARRIVAL_MS, &mut out, notes);
    assert!(out.starts_with(b"rest of the chunk"));
    if let Err(error) = result {
        assert_eq!(out.len(), kept, "a record that fails leaves nothing behind");
        return Err(error.to_string());
    }
    Ok(out.split_off(kept))
}
