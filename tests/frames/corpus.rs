//! Reads `tests/data/frames`.

use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/frames")
}

pub fn from_hex(text: &str) -> Vec<u8> {
    let text = text.trim();
    assert!(text.len().is_multiple_of(2));
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

pub fn hex_lines(name: &str) -> Vec<Vec<u8>> {
    std::fs::read_to_string(folder().join(name)).unwrap().lines().map(from_hex).collect()
}

/// The frames of `synthetic/`, by file name without its ending, sorted.
pub fn synthetic() -> Vec<(String, Vec<u8>)> {
    let mut frames: Vec<_> = std::fs::read_dir(folder().join("synthetic"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "hex"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, from_hex(&std::fs::read_to_string(&path).unwrap()))
        })
        .collect();
    frames.sort();
    frames
}

/// The lines of `frames.jsonl.gz`, each with its frame.
pub fn server_frames() -> Vec<(Value, Vec<u8>)> {
    let file = std::fs::File::open(folder().join("frames.jsonl.gz")).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    json_lines(&text)
}

/// The lines of `extras.jsonl`, each with its frame.
pub fn extras() -> Vec<(Value, Vec<u8>)> {
    json_lines(&std::fs::read_to_string(folder().join("extras.jsonl")).unwrap())
}

/// Every frame there is, by name.
pub fn all() -> Vec<(String, Vec<u8>)> {
    let named = |(line, frame): (Value, Vec<u8>)| (line["name"].as_str().unwrap().to_owned(), frame);
    let mut frames = synthetic();
    frames.extend(server_frames().into_iter().chain(extras()).map(named));
    for file in ["captured-01.hex", "rust-client-xdr.hex"] {
        frames.extend(hex_lines(file).into_iter().map(|frame| (file.to_owned(), frame)));
    }
    frames
}

fn json_lines(text: &str) -> Vec<(Value, Vec<u8>)> {
    text.lines()
        .map(|line| {
            let value: Value = serde_json::from_str(line).unwrap();
            let frame = from_hex(value["frame_hex"].as_str().unwrap());
            (value, frame)
        })
        .collect()
}
