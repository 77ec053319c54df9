//! YAML text into a tree that knows line and column of every key and value.
//!
//! Knows YAML, knows none of our keys. Anchors, aliases and merge keys (`<<`) work, within [`MAX_NODES`]: a file that
//! multiplies itself is a fault, not a memory problem. What saphyr-parser would pass over (NUL ends its input) is
//! refused before it reads.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

use super::fault::shown_key;

/// Deepest nesting of a configuration file; the deepest legal path has seven levels. Bounds our recursion.
const MAX_DEPTH: usize = 32;
/// Keys and values once aliases are written out, anchors counted twice; bounds memory at some 10 MB.
const MAX_NODES: usize = 100_000;

/// Line and column, from 1; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pos {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl Pos {
    /// The start of the file.
    pub const START: Pos = Pos { line: 1, column: 1 };
}

/// A value.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it stands; an empty value stands where its key does.
    pub at: Pos,
    /// What it is.
    pub kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Text, a number, a boolean or nothing: that depends on who reads it.
    Scalar {
        /// Its text.
        text: String,
        /// Without quotes, so it may be a number, a boolean or nothing.
        plain: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A section.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key's text.
    pub key: String,
    /// Where the key stands.
    pub key_at: Pos,
    /// Its value.
    pub value: Node,
}

impl Node {
    /// Whether this is an empty value, `null` or `~`.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The text of a scalar without quotes.
    pub fn plain(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, plain: true } => Some(text),
            _ => None,
        }
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The value of `key`, if this is a section that has it.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    fn size(&self) -> usize {
        match &self.kind {
            Kind::Scalar { .. } => 1,
            Kind::List(items) => 1 + items.iter().map(Node::size).sum::<usize>(),
            Kind::Map(entries) => 1 + entries.iter().map(|entry| 1 + entry.value.size()).sum::<usize>(),
        }
    }
}

/// A fault of the YAML text: where, under which path, and what.
#[derive(Debug, Clone)]
pub struct YamlFault {
    /// Where.
    pub at: Pos,
    /// Keys above it, joined by dots; empty at the top.
    pub path: String,
    /// What is wrong; what to write.
    pub message: String,
}

/// Reads one document. `None`: the text is no YAML, or holds nothing; `faults` then says why.
pub fn read(text: &str) -> (Option<Node>, Vec<YamlFault>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(fault) = forbidden_character(text) {
        return (None, vec![fault]);
    }
    let mut builder = Builder {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        nodes: 0,
        faults: Vec::new(),
        path: Vec::new(),
    };
    let root = match builder.document() {
        Ok(root) => root,
        Err(stop) => {
            let message = if stop.ours { stop.message } else { with_hint(text, stop.at, &stop.message) };
            builder.fault(stop.at, message);
            None
        }
    };
    (root, builder.faults)
}

/// YAML allows no control characters but tab, line feed and carriage return.
fn forbidden_character(text: &str) -> Option<YamlFault> {
    let mut at = Pos::START;
    let mut previous = ' ';
    for c in text.chars() {
        let allowed = matches!(c, '\t' | '\n' | '\r' | '\u{85}') || !(c.is_control() || c == '\u{feff}');
        if !allowed {
            let message = format!("a character that YAML does not allow (U+{:04X}); take it out", u32::from(c));
            return Some(YamlFault { at, path: String::new(), message });
        }
        // A carriage return alone ends a line, too; the line feed after one does not end another.
        match c {
            '\n' if previous == '\r' => {}
            '\n' | '\r' => at = Pos { line: at.line + 1, column: 1 },
            _ => at.column += 1,
        }
        previous = c;
    }
    None
}

/// Adds what the parser cannot know about the most frequent mistakes.
fn with_hint(text: &str, at: Pos, message: &str) -> String {
    let line = text.lines().nth(at.line.saturating_sub(1)).unwrap_or_default();
    let before = text.lines().nth(at.line.saturating_sub(2)).unwrap_or_default();
    let tab = |line: &str| line.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t');
    let hint = if tab(line) || tab(before) {
        "there is a tab in the indentation: write spaces"
    } else if message.contains("anchor") {
        "write `&name` at a value above before `*name`, or quote a text that begins with `*` or `&`"
    } else if message.contains("':'") {
        "close the bracket or quote before it, or write `key: value` with a space after the colon"
    } else {
        "check indentation, quotes and brackets here and on the line before"
    };
    format!("not valid YAML: {message}; {hint}")
}

/// Reading cannot go on.
struct Stop {
    at: Pos,
    message: String,
    /// Whether the message is ours and complete, or the parser's.
    ours: bool,
}

impl Stop {
    fn new(at: Pos, message: String) -> Stop {
        Stop { at, message, ours: true }
    }
}

struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// Complete values of anchors, by the parser's number.
    anchors: HashMap<usize, Node>,
    nodes: usize,
    faults: Vec<YamlFault>,
    path: Vec<String>,
}

impl<'a> Builder<'a> {
    fn fault(&mut self, at: Pos, message: String) {
        self.faults.push(YamlFault { at, path: self.path.join("."), message });
    }

    fn next(&mut self) -> Result<(Event<'a>, Pos), Stop> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, position(&span))),
            Some(Err(error)) => {
                let at = Pos { line: error.marker().line().max(1), column: error.marker().col() + 1 };
                Err(Stop { at, message: error.info().to_owned(), ours: false })
            }
            None => Ok((Event::StreamEnd, Pos::START)),
        }
    }

    fn document(&mut self) -> Result<Option<Node>, Stop> {
        let mut root = None;
        loop {
            let (event, at) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::DocumentStart(_) if root.is_some() => {
                    self.fault(at, "a second YAML document; put all settings into one document".to_owned());
                    return Ok(root);
                }
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
                event => root = Some(self.value(event, at, at, 0)?),
            }
        }
    }

    /// The value that begins with `event`. `key_at` is where an empty value is said to stand.
    fn value(&mut self, event: Event<'a>, at: Pos, key_at: Pos, depth: usize) -> Result<Node, Stop> {
        if depth > MAX_DEPTH {
            return Err(Stop::new(at, format!("nested more than {MAX_DEPTH} levels deep; write it flatter")));
        }
        self.count(at, 1)?;
        let (kind, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = self.is_plain(style == ScalarStyle::Plain, tag.as_deref(), at);
                (Kind::Scalar { text: text.into_owned(), plain }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), at);
                (Kind::List(self.list(depth)?), anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), at);
                (Kind::Map(self.map(depth)?), anchor)
            }
            Event::Alias(anchor) => return self.alias(anchor, at),
            _ => return Err(Stop::new(at, "ends in the middle of a value; write the rest".to_owned())),
        };
        let empty = matches!(&kind, Kind::Scalar { text, plain: true } if text.is_empty());
        let node = Node { at: if empty { key_at } else { at }, kind };
        if anchor != 0 {
            self.count(at, node.size())?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn count(&mut self, at: Pos, more: usize) -> Result<(), Stop> {
        self.nodes = self.nodes.saturating_add(more);
        if self.nodes > MAX_NODES {
            return Err(Stop::new(
                at,
                format!("more than {MAX_NODES} keys and values once aliases are written out; write fewer"),
            ));
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, at: Pos) -> Result<Node, Stop> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(Stop::new(at, "an alias to a value that contains it; write the value out".to_owned()));
        };
        let size = node.size();
        // Counted before it is copied: the copy is what could grow without bound.
        let node = if self.nodes.saturating_add(size) <= MAX_NODES { Some(node.clone()) } else { None };
        self.count(at, size)?;
        node.ok_or_else(|| Stop::new(at, "too many aliases; write fewer".to_owned()))
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Stop> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, at) => items.push(self.value(event, at, at, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Entry>, Stop> {
        let mut entries = Entries::default();
        let mut merges = Vec::new();
        loop {
            let (event, key_at) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key = self.value(event, key_at, key_at, depth + 1)?;
            let merge = key.plain() == Some("<<");
            let name = key.text().map(str::to_owned);
            self.path.push(shown_key(name.as_deref().unwrap_or("?")));
            let (event, at) = self.next()?;
            let value = self.value(event, at, key_at, depth + 1)?;
            match name {
                _ if merge => merges.push(value),
                None => self.fault(key_at, "a key that is no text; write `key: value`".to_owned()),
                Some(key) => {
                    if let Err(line) = entries.insert(Entry { key, key_at, value }) {
                        self.fault(key_at, format!("given twice, first on line {line}; keep one of the two"));
                    }
                }
            }
            self.path.pop();
        }
        for value in merges {
            self.merge(&mut entries, value);
        }
        Ok(entries.list)
    }

    /// `<<: *anchor` or a list of them: keys that are not given here are taken from there, the first one wins.
    fn merge(&mut self, entries: &mut Entries, value: Node) {
        match value.kind {
            Kind::Map(more) => {
                for entry in more {
                    // Given here: that is what merging means.
                    let _ = entries.insert(entry);
                }
            }
            Kind::List(items) if items.iter().all(|item| matches!(item.kind, Kind::Map(_))) => {
                for item in items {
                    self.merge(entries, item);
                }
            }
            _ => self
                .fault(value.at, "`<<` merges sections, and this is none; write `<<: *name` of a section".to_owned()),
        }
    }

    fn is_plain(&mut self, plain: bool, tag: Option<&Tag>, at: Pos) -> bool {
        match tag {
            None => plain,
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => false,
            Some(tag) if tag.is_yaml_core_schema() && ["int", "bool", "null"].contains(&tag.suffix.as_str()) => true,
            Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => false,
            Some(_) => {
                self.fault(at, "a YAML tag (`!...`) that means nothing here; take it out".to_owned());
                plain
            }
        }
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, at: Pos) {
        if tag.is_some_and(|tag| !(tag.is_yaml_core_schema() && ["map", "seq"].contains(&tag.suffix.as_str()))) {
            self.fault(at, "a YAML tag (`!...`) that means nothing here; take it out".to_owned());
        }
    }
}

/// Keys of one section in their order; finds a repeated one without comparing each with each.
#[derive(Default)]
struct Entries {
    list: Vec<Entry>,
    lines: HashMap<String, usize>,
}

impl Entries {
    /// Adds an entry; if its key is there already, says on which line.
    fn insert(&mut self, entry: Entry) -> Result<(), usize> {
        match self.lines.entry(entry.key.clone()) {
            std::collections::hash_map::Entry::Occupied(known) => Err(*known.get()),
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(entry.key_at.line);
                self.list.push(entry);
                Ok(())
            }
        }
    }
}

fn position(span: &Span) -> Pos {
    Pos { line: span.start.line().max(1), column: span.start.col() + 1 }
}
