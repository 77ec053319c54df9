//! What is found while a file is read: faults, warnings, and on which line each setting stands.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::sync::Arc;

use super::fault::{Fault, shown_key};
use super::yaml::Pos;
use super::{Outside, UnknownKeys};
use crate::tls::settings::Authorities;

/// More faults than this help nobody; the rest is counted.
const MAX_FAULTS: usize = 200;

/// Collects faults and warnings of one file.
#[derive(Debug)]
pub struct Context<'a> {
    /// The file as the user named it.
    file: &'a str,
    /// Where relative paths of the file start.
    pub directory: PathBuf,
    /// Files and environment variables that the file names.
    pub outside: Outside,
    /// The system's authorities, read at most once.
    system: OnceCell<Result<Arc<Authorities>, String>>,
    unknown: UnknownKeys,
    /// Faults, in the order in which they are found.
    pub faults: Vec<Fault>,
    /// Warnings, in the order in which they are found.
    pub warnings: Vec<Fault>,
    /// Key paths of the settings that the file gives, with their lines.
    pub lines: Vec<(String, usize)>,
    left_out: usize,
    unknown_left_out: usize,
}

impl<'a> Context<'a> {
    /// Nothing found yet.
    pub fn new(file: &'a str, directory: PathBuf, unknown: UnknownKeys, outside: Outside) -> Context<'a> {
        Context {
            file,
            directory,
            outside,
            system: OnceCell::new(),
            unknown,
            faults: Vec::new(),
            warnings: Vec::new(),
            lines: Vec::new(),
            left_out: 0,
            unknown_left_out: 0,
        }
    }

    /// The system's authorities, or why there are none.
    pub fn system(&self) -> Result<Arc<Authorities>, String> {
        self.system.get_or_init(self.outside.system).clone()
    }

    /// Something that keeps the program from starting.
    pub fn fault(&mut self, at: Pos, path: &str, message: String) {
        if self.faults.len() >= MAX_FAULTS {
            self.left_out += 1;
            return;
        }
        let fault = self.entry(at, path, message, false);
        self.faults.push(fault);
    }

    /// How many faults there are so far.
    pub fn count(&self) -> usize {
        self.faults.len() + self.left_out
    }

    /// Something that a user should know.
    pub fn warn(&mut self, at: Pos, path: &str, message: String) {
        if self.warnings.len() < MAX_FAULTS {
            let warning = self.entry(at, path, message, false);
            self.warnings.push(warning);
        }
    }

    /// An unknown key: a fault or a warning, as asked for.
    pub fn unknown(&mut self, at: Pos, path: &str, message: String) {
        let entry = self.entry(at, path, message, true);
        match self.unknown {
            UnknownKeys::Error => self.faults.push(entry),
            UnknownKeys::Warn => self.warnings.push(entry),
        }
    }

    /// Whether one more unknown key should only be counted.
    pub fn is_full(&self) -> bool {
        self.faults.len().max(self.warnings.len()) >= MAX_FAULTS
    }

    /// Counts an unknown key that is not reported by itself.
    pub fn count_unknown(&mut self) {
        self.unknown_left_out += 1;
    }

    /// Faults and warnings in the order of the file, with a last line for those left out.
    pub fn finish(&mut self) {
        let by_place = |fault: &Fault| fault.at;
        self.faults.sort_by_key(by_place);
        self.warnings.sort_by_key(by_place);
        // An alias can show one fault through several paths; the first is enough only if all is the same.
        self.faults.dedup();
        self.warnings.dedup();
        if self.left_out > 0 {
            let message = format!("{} more faults are not shown; correct these first", self.left_out);
            let fault = Fault { at: None, ..self.entry(Pos::START, "", message, false) };
            self.faults.push(fault);
        }
        if self.unknown_left_out > 0 {
            let message = format!("{} more unknown keys are not shown; correct these first", self.unknown_left_out);
            let entry = Fault { at: None, ..self.entry(Pos::START, "", message, true) };
            match self.unknown {
                UnknownKeys::Error => self.faults.push(entry),
                UnknownKeys::Warn => self.warnings.push(entry),
            }
        }
    }

    fn entry(&self, at: Pos, path: &str, message: String, unknown_key: bool) -> Fault {
        Fault {
            file: self.file.to_owned(),
            at: Some((at.line, at.column)),
            path: path.to_owned(),
            message,
            unknown_key,
        }
    }
}

/// `path.key`, quoted where needed.
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() { shown_key(key) } else { format!("{path}.{}", shown_key(key)) }
}
