//! Where a fault is, and how text of the file is repeated in it.

/// One fault of a configuration file. Displays as `FILE:LINE:COLUMN: key.path: what is wrong; what to write`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file as the user named it.
    pub file: String,
    /// Line and column, from 1, column in characters; `None`: the file could not be read at all.
    pub at: Option<(usize, usize)>,
    /// Path of the key, such as `service.port`; empty for a fault of the whole file.
    pub path: String,
    /// What is wrong, and what to write instead.
    pub message: String,
    /// Whether it is about a key that is not known.
    pub unknown_key: bool,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:", self.file)?;
        if let Some((line, column)) = self.at {
            write!(f, "{line}:{column}:")?;
        }
        if !self.path.is_empty() {
            write!(f, " {}:", self.path)?;
        }
        write!(f, " {}", self.message)
    }
}

/// Longest piece of the file's text that a message repeats.
const MAX_SHOWN: usize = 48;

/// `text` for a message: short, without control characters, and not at all when it may hold a password.
pub fn shown(text: &str) -> String {
    if text.contains('@') {
        return "this text (not shown: it may hold a password)".to_owned();
    }
    format!("`{}`", cut(text))
}

/// A key for a path: in quotes when a dot or a space would make the path ambiguous.
pub fn shown_key(key: &str) -> String {
    if key.contains('@') {
        return "\"...\"".to_owned();
    }
    let simple = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || "-_<?".contains(c));
    if simple && key.chars().count() <= MAX_SHOWN { key.to_owned() } else { format!("\"{}\"", cut(key)) }
}

fn cut(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.push_str("...");
    }
    // escape_debug is for string literals; in our messages quotes need no backslash.
    shown.replace("\\\"", "\"").replace("\\'", "'")
}
