//! Rust source as text, for tests about the code itself: comments and literals blanked, test code left out.

use std::path::{Path, PathBuf};

/// The repository's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `folder` with this extension, sorted, as paths from the root with `/`.
pub fn files(folder: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    walk(&root().join(folder), extension, &mut found);
    let mut names: Vec<String> =
        found.iter().filter_map(|path| Some(path.strip_prefix(root()).ok()?.to_str()?.to_owned())).collect();
    names.sort();
    names
}

fn walk(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            if name != "target" && name != ".git" {
                walk(&path, extension, found);
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

/// The same text with comments and the insides of string and character literals blanked; lines stay lines.
pub fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = match (bytes[at], bytes.get(at + 1)) {
            (b'/', Some(b'/')) => at + text[at..].find('\n').unwrap_or(text.len() - at),
            (b'/', Some(b'*')) => block_comment_end(bytes, at),
            (b'"', _) => string_end(bytes, at),
            (b'r', Some(b'"' | b'#')) if !is_word(bytes, at) => raw_string_end(text, at),
            (b'\'', _) => character_end(text, at),
            _ => at,
        };
        if end > at {
            out.extend(text[at..end].chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            let letter = text[at..].chars().next().unwrap_or(' ');
            out.push(letter);
            at += letter.len_utf8();
        }
    }
    out
}

fn is_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_') && bytes[at - 1] != b'b'
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let (mut depth, mut at) = (0, start);
    while at + 1 < bytes.len() {
        match (bytes[at], bytes[at + 1]) {
            (b'/', b'*') => (depth, at) = (depth + 1, at + 2),
            (b'*', b'/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn raw_string_end(text: &str, start: usize) -> usize {
    let hashes = text[start + 1..].bytes().take_while(|byte| *byte == b'#').count();
    let open = start + 1 + hashes;
    if text.as_bytes().get(open) != Some(&b'"') {
        return start;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    text[open + 1..].find(&close).map_or(text.len(), |found| open + 1 + found + close.len())
}

/// The end of a character literal; `start` for a lifetime.
fn character_end(text: &str, start: usize) -> usize {
    let rest = &text[start + 1..];
    if rest.starts_with('\\') {
        let skip = 2.min(rest.len());
        return rest[skip..].find('\'').map_or(start, |found| start + 1 + skip + found + 1);
    }
    let Some(letter) = rest.chars().next() else { return start };
    if rest[letter.len_utf8()..].starts_with('\'') { start + 2 + letter.len_utf8() } else { start }
}

/// Blanks each item behind `#[cfg(test)]`. Takes text without comments and literals.
pub fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    while let Some(start) = out.find("#[cfg(test)]") {
        let bytes = out.as_bytes();
        let (mut depth, mut end) = (0, start);
        while end < bytes.len() {
            match bytes[end] {
                b'{' => depth += 1,
                b'}' if depth == 1 => break,
                b'}' => depth -= 1,
                b';' if depth == 0 => break,
                _ => {}
            }
            end += 1;
        }
        let end = (end + 1).min(out.len());
        let blank: String = out[start..end].chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(start..end, &blank);
    }
    out
}

/// The line, counted from 1, that offset `at` is in.
pub fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}
