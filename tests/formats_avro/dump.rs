//! Leaves what was written in the folder `RINGPOST_DUMP`, for `tests/python/read_avro.py`.

use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;

fn folder() -> Option<PathBuf> {
    std::env::var_os("RINGPOST_DUMP").map(PathBuf::from)
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file of JSON lines; nothing if there is no folder.
pub struct Lines(Option<std::fs::File>);

impl Lines {
    pub fn new(name: &str) -> Lines {
        Lines(folder().map(|folder| {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::File::create(folder.join(name)).unwrap()
        }))
    }

    pub fn add(&mut self, name: &str, schema: &str, body: &[u8], expect: &Value) {
        if let Some(file) = &mut self.0 {
            let line = json!({"name": name, "schema": schema, "body_hex": hex(body), "expect": expect});
            writeln!(file, "{line}").unwrap();
        }
    }
}
