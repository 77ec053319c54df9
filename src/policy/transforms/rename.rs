//! What becomes of one name, worked out from the configuration.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::config::model::{BinSet, BinTransforms, NameTransform};
use crate::policy::java_regex::{JavaRegex, MAX_TEXT, RegexFault, RunFault};
use crate::record::Fault;

/// What gave a bin its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Nothing: it is the original one.
    Kept,
    Map,
    Transforms,
}

impl Origin {
    /// The settings that made two bins meet.
    pub(super) fn settings(self, other: Origin) -> &'static str {
        match (self, other) {
            (Origin::Map, Origin::Transforms) | (Origin::Transforms, Origin::Map) => {
                "bin-transforms.map or bin-transforms.transforms"
            }
            (Origin::Map, _) | (_, Origin::Map) => "bin-transforms.map",
            _ => "bin-transforms.transforms",
        }
    }
}

/// The new name of a bin that is kept.
pub(super) struct NewName<'n> {
    pub(super) name: Cow<'n, [u8]>,
    pub(super) origin: Origin,
    /// It cannot be used.
    pub(super) fault: Option<Fault>,
}

/// One `bin-transforms` block.
#[derive(Debug)]
pub(super) struct Renamer {
    include: Selection,
    exclude: Selection,
    map: HashMap<Vec<u8>, Vec<u8>>,
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Selection {
    All,
    None,
    Names(HashSet<Vec<u8>>),
}

#[derive(Debug)]
enum Step {
    Lowercase,
    Uppercase,
    Trim,
    Regex(Box<JavaRegex>),
}

impl Selection {
    fn new(set: &BinSet) -> Selection {
        match set {
            BinSet::All => Selection::All,
            BinSet::None => Selection::None,
            BinSet::Specified(names) => Selection::Names(names.iter().map(|name| name.clone().into_bytes()).collect()),
        }
    }

    fn has(&self, name: &[u8]) -> bool {
        match self {
            Selection::All => true,
            Selection::None => false,
            Selection::Names(names) => names.contains(name),
        }
    }
}

impl Renamer {
    pub(super) fn new(config: &BinTransforms) -> Result<Renamer, String> {
        let steps: Result<_, String> = config.transforms.iter().map(Step::new).collect();
        Ok(Renamer {
            include: Selection::new(&config.include),
            exclude: config.exclude.as_ref().map_or(Selection::None, Selection::new),
            map: config.map.iter().map(|(old, new)| (old.clone().into_bytes(), new.clone().into_bytes())).collect(),
            steps: steps?,
        })
    }

    /// The name of the bin that was called `name`; `None` if it is dropped.
    pub(super) fn rename<'n>(&'n self, name: &'n [u8]) -> Option<NewName<'n>> {
        if !self.include.has(name) || self.exclude.has(name) {
            return None;
        }
        let (new, origin) = match self.map.get(name) {
            Some(new) => (Cow::Borrowed(new.as_slice()), Origin::Map),
            None => match self.transform(name) {
                Ok(new) => (new, Origin::Transforms),
                Err(fault) => {
                    let name = Cow::Borrowed(name);
                    return Some(NewName { name, origin: Origin::Transforms, fault: Some(fault) });
                }
            },
        };
        let origin = if *new == *name { Origin::Kept } else { origin };
        let size = new.len();
        let fault =
            (size > usize::from(u8::MAX)).then(|| Fault::NewNameSize { size, setting: origin.settings(origin) });
        Some(NewName { name: new, origin, fault })
    }

    /// A name that is not UTF-8 keeps its bytes unless a step changes its text.
    fn transform<'n>(&self, name: &'n [u8]) -> Result<Cow<'n, [u8]>, Fault> {
        let original = String::from_utf8_lossy(name);
        let mut text = original.clone();
        for step in &self.steps {
            if let Some(changed) = step.run(&text)? {
                text = Cow::Owned(changed);
            }
        }
        Ok(if text == original { Cow::Borrowed(name) } else { Cow::Owned(text.into_owned().into_bytes()) })
    }
}

impl Step {
    fn new(transform: &NameTransform) -> Result<Step, String> {
        Ok(match transform {
            NameTransform::Lowercase => Step::Lowercase,
            NameTransform::Uppercase => Step::Uppercase,
            NameTransform::Trim => Step::Trim,
            NameTransform::Regex { pattern, replacement } => {
                Step::Regex(Box::new(JavaRegex::new(pattern, replacement).map_err(|fault| match fault {
                    RegexFault::Pattern(what) => format!("pattern: {what}"),
                    RegexFault::Replacement(what) => format!("replacement: {what}"),
                })?))
            }
        })
    }

    /// The changed text; `None` if it stays.
    fn run(&self, text: &str) -> Result<Option<String>, Fault> {
        let changed = match self {
            Step::Lowercase => text.to_lowercase(),
            Step::Uppercase => text.to_uppercase(),
            Step::Trim => text.trim_matches(|letter| letter <= ' ').to_owned(),
            Step::Regex(regex) => {
                let mut out = String::new();
                regex.replace_all(text, &mut out).map_err(|fault| match fault {
                    RunFault::Steps => Fault::RegexSteps,
                    RunFault::Size => too_long(MAX_TEXT),
                })?;
                out
            }
        };
        // Upper case can have three times the bytes, and there may be many steps.
        if changed.len() > MAX_TEXT {
            return Err(too_long(changed.len()));
        }
        Ok((changed != text).then_some(changed))
    }
}

fn too_long(size: usize) -> Fault {
    Fault::NewNameSize { size, setting: Origin::Transforms.settings(Origin::Transforms) }
}
