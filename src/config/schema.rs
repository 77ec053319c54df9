//! What a key of the file is: its name, whether it works, what its value holds. The keys themselves are in [`tables`].
//!
//! Three readers share this table: [`keys`](super::keys) finds unknown keys and those that do not work yet,
//! [`json_schema`](super::json_schema) prints it for editors, and tests hold the readers in [`convert`](super::convert)
//! and the documentation against it. What is not in the table is an unknown key.

mod tables;

pub use tables::{ALL, HEADER_SOURCES, ROOT};

use super::value;
use super::yaml::Node;

/// The keys of one kind of section.
#[derive(Debug)]
pub struct Section {
    /// Its path for messages, such as `destinations.NAME`.
    pub path: &'static str,
    /// What may stand in its place, such as the mode alone for `format`.
    pub short: Option<Type>,
    /// Its keys.
    pub keys: &'static [Key],
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Whether it works.
    pub status: Status,
    /// What its value holds.
    pub shape: Shape,
    /// What it is for, in one line.
    pub about: &'static str,
    /// What holds without it, as it would be written; empty: nothing that could be written.
    pub default: &'static str,
    /// Whether its section needs it.
    pub required: bool,
    /// Whether `null` may be written although the key works.
    pub nullable: bool,
}

/// Whether a key works.
#[derive(Debug, Clone, Copy)]
pub enum Status {
    /// It works; its value is read and checked.
    Works,
    /// Not supported yet. `hint` says what to do; a value that asks for nothing (`harmless`) is accepted.
    Later {
        /// What to do instead.
        hint: &'static str,
        /// Which values ask for nothing; `null` always does.
        harmless: fn(&Node) -> bool,
    },
    /// Takes Java classes, which there will never be.
    Java,
}

/// What the value of a key holds.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// A value or a list of values.
    Value(Type),
    /// A section.
    Section(&'static Section),
    /// A section whose keys are names that the user chooses, each with such a section.
    Named(&'static Section),
    /// A list of such sections, or one.
    Items(&'static Section),
    /// A section whose keys the user chooses, each with such a value.
    Map(Type),
    /// Anything.
    Free,
}

/// What one value is.
#[derive(Debug, Clone, Copy)]
pub enum Type {
    /// Text.
    Text,
    /// Text that may be empty.
    AnyText,
    /// `true` or `false`.
    Boolean,
    /// A whole number from the first to the second.
    Whole(i64, i64),
    /// A size in bytes, from the first to the second.
    Size(u64, u64),
    /// A duration with its unit; the texts are the smallest and the largest.
    Duration(&'static str, &'static str),
    /// One of these words.
    Words(&'static [&'static str]),
    /// As `Words`, in small or capital letters.
    AnyCase(&'static [&'static str]),
    /// A word or YAML's `null`, which means a word here.
    WordOrNull(&'static str),
    /// Text of this pattern (ECMA 262).
    Pattern(&'static str),
    /// One or several different values.
    List(&'static Type),
    /// As `List`, and the list may be empty.
    ListOrEmpty(&'static Type),
    /// `executors.cores`.
    Cores,
}

const fn works(name: &'static str, of: Type, about: &'static str) -> Key {
    Key { name, status: Status::Works, shape: Shape::Value(of), about, default: "", required: false, nullable: false }
}

const fn section(name: &'static str, of: &'static Section, about: &'static str) -> Key {
    let mut key = works(name, Type::Text, about);
    key.shape = Shape::Section(of);
    key
}

const fn named(name: &'static str, of: &'static Section, about: &'static str) -> Key {
    let mut key = works(name, Type::Text, about);
    key.shape = Shape::Named(of);
    key
}

/// A class of the Java connector, and what is handed to it.
const fn java(name: &'static str) -> Key {
    let mut key = works(name, Type::Text, "Runs Java classes, which is not supported.");
    key.status = Status::Java;
    key.shape = Shape::Free;
    key
}

impl Key {
    /// Not supported yet.
    const fn later(mut self, hint: &'static str) -> Key {
        self.status = Status::Later { hint, harmless: never };
        self
    }

    /// Not supported yet, but these values ask for nothing.
    const fn unless(mut self, asks_for_nothing: fn(&Node) -> bool) -> Key {
        if let Status::Later { hint, .. } = self.status {
            self.status = Status::Later { hint, harmless: asks_for_nothing };
        }
        self
    }

    const fn default(mut self, written: &'static str) -> Key {
        self.default = written;
        self
    }

    const fn required(mut self) -> Key {
        self.required = true;
        self
    }

    const fn or_null(mut self) -> Key {
        self.nullable = true;
        self
    }
}

fn never(_: &Node) -> bool {
    false
}

fn is_true(node: &Node) -> bool {
    value::boolean(node) == Ok(true)
}
