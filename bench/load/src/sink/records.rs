//! Which records a request holds: the one that its `aerospike-digest` names, or those that its body names.
//!
//! A batch is a JSON array, JSON lines, a MessagePack array of messages, XDR frames one after another, or an Avro
//! container; a body of one record is read in the same way when its request has no digest. Digests are looked for only
//! where the format puts them, so that no bin can pass for one, and they prove themselves by their hash
//! ([`Identity::from_digest`]).

use std::io::Read;

use serde_json::Value;

use super::binary;
use crate::record::Identity;

/// Largest body after gunzip.
const PLAIN_LIMIT: u64 = 256 << 20;
/// How deep a `seq` bin may stand in a record.
const SEQUENCE_DEPTH: usize = 8;

/// The records of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Records {
    /// None that a generator made.
    #[default]
    Unknown,
    /// The usual request.
    One(Identity),
    /// A batch, in its order.
    Several(Box<[Identity]>),
}

impl Records {
    pub(super) fn as_slice(&self) -> &[Identity] {
        match self {
            Records::Unknown => &[],
            Records::One(identity) => std::slice::from_ref(identity),
            Records::Several(all) => all,
        }
    }
}

impl From<Option<Identity>> for Records {
    fn from(identity: Option<Identity>) -> Records {
        identity.map_or(Records::Unknown, Records::One)
    }
}

/// What a body is, by its `content-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Content {
    Json,
    JsonLines,
    MessagePack,
    Xdr,
    Avro,
    #[default]
    Other,
}

impl Content {
    pub(super) fn of(value: &[u8]) -> Content {
        let name = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        match name {
            b"application/json" => Content::Json,
            b"application/x-ndjson" => Content::JsonLines,
            b"application/x-msgpack" => Content::MessagePack,
            b"application/octet-stream" => Content::Xdr,
            b"application/avro" => Content::Avro,
            _ => Content::Other,
        }
    }
}

/// What was found in a body.
#[derive(Debug, Default)]
pub(super) struct Found {
    identities: Vec<Identity>,
    /// Something is wrong with the body: cut, not of its format, a record of nobody, a record with another one's bins.
    pub(super) corrupt: bool,
}

impl Found {
    pub(super) fn add(&mut self, identity: Option<Identity>) {
        match identity {
            Some(identity) => self.identities.push(identity),
            None => self.corrupt = true,
        }
    }

    /// Enters a part of the body, or that it cannot be read.
    pub(super) fn check(&mut self, part: Option<()>) {
        self.corrupt |= part.is_none();
    }

    pub(super) fn count(&self) -> usize {
        self.identities.len()
    }

    pub(super) fn records(self) -> Records {
        match self.identities.as_slice() {
            [] => Records::Unknown,
            [one] => Records::One(*one),
            _ => Records::Several(self.identities.into_boxed_slice()),
        }
    }

    /// Reads a record in JSON. One that is no record at all is not corrupt by itself: a body may be anything.
    fn json(&mut self, value: &Value) {
        let Some(digest) = digest_in(value) else { return };
        let identity = Identity::from_header(digest.as_bytes());
        self.add(identity);
        self.corrupt |= !belongs_to(identity, value);
    }
}

/// Finds the records of a plain body.
pub(super) fn find(content: Content, body: &[u8]) -> Found {
    let mut found = Found::default();
    match content {
        Content::Json => match serde_json::from_slice(body) {
            Ok(Value::Array(records)) => {
                records.iter().for_each(|record| found.json(record));
                found.corrupt |= found.count() != records.len();
            }
            Ok(record) => found.json(&record),
            Err(_) => found.corrupt = true,
        },
        Content::JsonLines => json_lines(body, &mut found),
        Content::MessagePack => binary::message_pack(body, &mut found),
        Content::Xdr => binary::frames(body, &mut found),
        Content::Avro => binary::avro(body, &mut found),
        Content::Other => {}
    }
    found
}

/// One record a line, each line ended.
fn json_lines(body: &[u8], found: &mut Found) {
    let Some(lines) = body.strip_suffix(b"\n") else {
        found.corrupt = true;
        return;
    };
    let mut count = 0;
    for line in lines.split(|byte| *byte == b'\n') {
        count += 1;
        match serde_json::from_slice(line) {
            Ok(record) => found.json(&record),
            Err(_) => found.corrupt = true,
        }
    }
    found.corrupt |= found.count() != count;
}

/// A body as it was before `content-encoding: gzip`; `None` if it is not gzip.
pub(super) fn gunzip(body: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let read = flate2::read::MultiGzDecoder::new(body).take(PLAIN_LIMIT).read_to_end(&mut plain);
    read.is_ok().then_some(plain)
}

/// The digest of a record in JSON. Typed: `"key":[namespace, set, digest, user key]`, bins stand inside `bins`. Flat:
/// bins stand beside the metadata, so that a bin named `key` is an ordinary thing; but no bin has the metadata's name.
fn digest_in(record: &Value) -> Option<&str> {
    let members = record.as_object()?;
    let metadata = members.get("metadata").filter(|metadata| is_metadata(metadata));
    let other = || members.values().find(|value| is_metadata(value));
    if let Some(metadata) = metadata {
        return metadata.get("digest")?.as_str();
    }
    if matches!(members.get("msg"), Some(Value::String(_)))
        && let Some(digest) = members.get("key").and_then(|key| key.get(2)?.as_str())
    {
        return Some(digest);
    }
    // `metadata-key` may be another one.
    other()?.get("digest")?.as_str()
}

fn is_metadata(value: &Value) -> bool {
    ["digest", "namespace", "msg"].iter().all(|name| value.get(name).is_some_and(Value::is_string))
}

/// Whether a body is JSON, and its `seq` (where it has one) that of the digest.
pub(super) fn intact(identity: Option<Identity>, body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|value| belongs_to(identity, &value))
}

/// Whether the `seq` of a record, where it has one, is that of its digest.
fn belongs_to(identity: Option<Identity>, record: &Value) -> bool {
    match (identity, sequence_in(record, SEQUENCE_DEPTH)) {
        (Some(identity), Some(sequence)) => identity.sequence == sequence,
        _ => true,
    }
}

/// The `seq` bin in flat JSON (`"seq":1`) or typed JSON (an object with `name` or key `seq`, and a `value`).
fn sequence_in(value: &Value, depth: usize) -> Option<u64> {
    let inner = |value: &Value| value.as_u64().or_else(|| value.get("value")?.as_u64());
    let depth = depth.checked_sub(1)?;
    match value {
        Value::Object(members) => {
            let named = members.get("name").is_some_and(|name| name == "seq");
            let own = if named { inner(value) } else { members.get("seq").and_then(inner) };
            own.or_else(|| members.values().find_map(|value| sequence_in(value, depth)))
        }
        Value::Array(items) => items.iter().find_map(|item| sequence_in(item, depth)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn identity(sequence: u64) -> Identity {
        Identity { sequence, run: 1 }
    }

    fn text(sequence: u64) -> String {
        base64_simd::STANDARD.encode_to_string(identity(sequence).digest())
    }

    fn flat(sequence: u64) -> String {
        let digest = text(sequence);
        format!(r#"{{"metadata":{{"msg":"write","namespace":"test","digest":"{digest}"}},"seq":{sequence}}}"#)
    }

    fn typed(sequence: u64) -> String {
        let digest = text(sequence);
        format!(
            r#"{{"msg":"write","key":["test",null,"{digest}",null],"bins":[{{"name":"seq","type":"int","value":{sequence}}}]}}"#
        )
    }

    fn sequences(content: Content, body: &[u8]) -> (Vec<u64>, bool) {
        let found = find(content, body);
        let corrupt = found.corrupt;
        (found.records().as_slice().iter().map(|identity| identity.sequence).collect(), corrupt)
    }

    #[test]
    fn a_body_of_another_record_or_no_json_is_corrupt() {
        let seven = Some(identity(7));
        assert!(intact(seven, br#"{"metadata":{"gen":1},"seq":7}"#));
        assert!(intact(seven, br#"{"bins":[{"name":"seq","type":"int","value":7}]}"#));
        assert!(intact(seven, br#"{"bins":{"seq":{"type":"int","value":7}}}"#));
        assert!(intact(seven, br#"{"other":1}"#));
        assert!(!intact(seven, br#"{"seq":8}"#));
        assert!(!intact(seven, br#"{"seq":7"#));
    }

    #[test]
    fn json_records_are_found_in_arrays_lines_and_alone() {
        let array = format!("[{},{}]", flat(3), typed(4));
        assert_eq!(sequences(Content::Json, array.as_bytes()), (vec![3, 4], false));
        let lines = format!("{}\n{}\n", typed(5), flat(6));
        assert_eq!(sequences(Content::JsonLines, lines.as_bytes()), (vec![5, 6], false));
        assert_eq!(sequences(Content::Json, flat(7).as_bytes()), (vec![7], false));
        assert_eq!(sequences(Content::of(b"application/json; charset=utf-8"), typed(8).as_bytes()), (vec![8], false));
        assert_eq!(sequences(Content::Json, b"{}"), (vec![], false), "no record, and nothing wrong");
    }

    #[test]
    fn damaged_json_is_corrupt() {
        let strange = flat(1).replace(&text(1), &base64_simd::STANDARD.encode_to_string([7; 20]));
        let swapped = flat(1).replace("\"seq\":1", "\"seq\":2");
        for record in [strange, swapped, String::from("{}"), String::from("5")] {
            let array = format!("[{},{record}]", flat(9));
            assert!(sequences(Content::Json, array.as_bytes()).1, "{array}");
            let lines = format!("{}\n{record}\n", flat(9));
            assert!(sequences(Content::JsonLines, lines.as_bytes()).1, "{lines}");
        }
        let cut = format!("[{},", flat(9));
        assert_eq!(sequences(Content::Json, cut.as_bytes()), (vec![], true));
        let joined = format!("{}{}\n", flat(9), flat(10));
        assert_eq!(sequences(Content::JsonLines, joined.as_bytes()), (vec![], true));
        assert!(sequences(Content::JsonLines, flat(9).as_bytes()).1, "the last line is not ended");
    }

    /// Bins that look like what holds the digest of another record.
    #[test]
    fn bins_do_not_pass_for_digests() {
        let other = text(99);
        let look_alikes = [
            format!(r#""key":["test",null,"{other}",null]"#),
            format!(r#""digest":"{other}""#),
            format!(r#""text":"\"digest\":\"{other}\"""#),
            format!(r#""map":{{"digest":"{other}"}}"#),
            format!(r#""list":[{{"metadata":{{"msg":"write","namespace":"a","digest":"{other}"}}}}]"#),
        ];
        for bin in look_alikes {
            let array = format!("[{},{}]", flat(1).replacen('{', &format!("{{{bin},"), 1), flat(2));
            assert_eq!(sequences(Content::Json, array.as_bytes()), (vec![1, 2], false), "{array}");
            let inside = format!(r#""bins":[{{"name":"x","type":"map","value":{{{bin}}}}},"#);
            let array = format!("[{}]", typed(3).replacen("\"bins\":[", &inside, 1));
            assert_eq!(sequences(Content::Json, array.as_bytes()), (vec![3], false), "{array}");
        }
        let renamed = flat(4).replace("\"metadata\"", "\"_meta\"");
        assert_eq!(sequences(Content::Json, renamed.as_bytes()), (vec![4], false), "metadata-key is free");
    }

    #[test]
    fn gzip_is_undone_and_what_is_none_is_seen() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"plain text").unwrap();
        let mut zipped = encoder.finish().unwrap();
        assert_eq!(gunzip(&zipped).as_deref(), Some(b"plain text".as_slice()));
        zipped.truncate(zipped.len() - 1);
        assert_eq!(gunzip(&zipped), None);
        assert_eq!(gunzip(b"plain text"), None);
    }
}
