//! What a destination reads in a request: head and body, without a line of the connector's own code.

use std::io::{Read, Write};

use ringpost::config::model::{Header, HeaderValue};

use super::frames;
use super::settings::{Layout, Shape};

/// One record in a body.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    pub frame: u64,
    /// As text.
    pub digest: String,
    pub shape: Shape,
    pub namespace: String,
    pub set: String,
    pub is_write: bool,
}

/// A whole body.
#[derive(Debug)]
pub struct Body {
    pub gzip: bool,
    /// Bytes before it was compressed.
    pub plain: usize,
    /// gzip makes it smaller; what it does not goes as it is.
    pub shrinks: bool,
    pub layout: Layout,
    pub items: Vec<Item>,
}

/// Reads a body; `None` if it is not what the connector may write.
pub fn read(body: &[u8]) -> Option<Body> {
    let gzip = body.starts_with(&[0x1f, 0x8b]);
    let mut unzipped = Vec::new();
    if gzip {
        flate2::read::GzDecoder::new(body).read_to_end(&mut unzipped).ok()?;
    }
    let plain: &[u8] = if gzip { &unzipped } else { body };
    let (layout, values) = match (plain.first()?, plain.last()?) {
        (b'[', _) => (Layout::Array, serde_json::from_slice(plain).ok()?),
        (_, b'\n') => {
            let lines = plain[..plain.len() - 1].split(|byte| *byte == b'\n');
            (Layout::Lines, lines.map(|line| serde_json::from_slice(line).ok()).collect::<Option<Vec<_>>>()?)
        }
        _ => (Layout::One, vec![serde_json::from_slice(plain).ok()?]),
    };
    let items = values.iter().map(item).collect::<Option<Vec<_>>>()?;
    let shrinks = gzip || zipped(plain)? < plain.len();
    (!items.is_empty()).then_some(Body { gzip, plain: plain.len(), shrinks, layout, items })
}

/// Bytes of a body as the connector would compress it.
fn zipped(plain: &[u8]) -> Option<usize> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(2));
    encoder.write_all(plain).ok()?;
    Some(encoder.finish().ok()?.len())
}

/// The record of one JSON object; checks that its value is that of its digest.
fn item(value: &serde_json::Value) -> Option<Item> {
    let text = |value: &serde_json::Value| Some(value.as_str()?.to_owned());
    let number = |digest: &str, generation: Option<&serde_json::Value>| {
        let digest = base64_simd::STANDARD.decode_to_vec(digest).ok()?;
        frames::frame_by(&digest, generation.and_then(serde_json::Value::as_u64))
    };
    let members = value.as_object()?;
    if let Some(key) = members.get("key") {
        let is_write = members.get("msg")?.as_str()? == "write";
        let digest = text(key.get(2)?)?;
        let frame = number(&digest, members.get("gen"))?;
        if is_write {
            let bins = members.get("bins")?.as_array()?;
            let bin = bins.iter().find(|bin| bin.get("name").is_some_and(|name| name == "f"))?;
            (bin.get("value")?.as_u64()? == frame).then_some(())?;
        }
        let set = key.get(1)?;
        let set = if set.is_null() { String::new() } else { text(set)? };
        return Some(Item { frame, digest, shape: Shape::Typed, namespace: text(key.get(0)?)?, set, is_write });
    }
    let (name, metadata) = members.iter().find(|(name, _)| *name == "metadata" || *name == "m")?;
    let digest = text(metadata.get("digest")?)?;
    let frame = number(&digest, metadata.get("gen"))?;
    let is_write = metadata.get("msg")?.as_str()? == "write";
    if is_write && members.get("f")?.as_u64()? != frame {
        return None;
    }
    let set = metadata.get("set").map_or(Some(String::new()), text)?;
    let (shape, namespace) = (Shape::Flat(name.clone()), text(metadata.get("namespace")?)?);
    Some(Item { frame, digest, shape, namespace, set, is_write })
}

/// The value of a header in an HTTP/1.1 head.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// What a head says has to be true of every record of the body, and it has to say all that is configured. The fault, if
/// there is one.
pub fn check_head(head: &str, body: &Body, headers: &[Header]) -> Option<String> {
    let kind = if body.layout == Layout::Lines { "application/x-ndjson" } else { "application/json" };
    let digest = match body.items.as_slice() {
        [one] => Some(one.digest.clone()),
        _ => None,
    };
    let fixed = [
        ("content-type", Some(kind)),
        ("content-encoding", body.gzip.then_some("gzip")),
        ("aerospike-digest", digest.as_deref()),
    ];
    for (name, expected) in fixed {
        if header(head, name) != expected {
            return Some(format!("{name} is {:?}, not {expected:?}", header(head, name)));
        }
    }
    for item in &body.items {
        let operation = if item.is_write { "write" } else { "delete" };
        for Header { name, value } in headers {
            let expected = match value {
                HeaderValue::Namespace => item.namespace.as_str(),
                HeaderValue::Set => &item.set,
                _ => operation,
            };
            let written = header(head, name);
            // A record without a set has none to write.
            if written != Some(expected).filter(|expected| !expected.is_empty()) {
                return Some(format!("{name} is {written:?}, not {expected:?}, for frame {}", item.frame));
            }
        }
    }
    None
}
