//! The configuration file: load, locate every fault, validate, convert once into what the program reads.
//!
//! Order of work: `yaml` gives a tree with positions, `keys` holds it against the table in `schema`, `convert`
//! reads the values into [`model`]. Knows no sockets and no runtime; [`load`] and [`Outside`] are all that touches the
//! file system. Invariants: nothing in the file is silently ignored; no file ends the process or takes more than some
//! megabytes; a message never repeats a URL or a text with `@`, which may hold a password.

pub mod model;

pub mod effective;

mod batching;
mod bins;
mod context;
mod convert;
mod destinations;
mod fault;
mod formats;
mod headers;
mod health;
mod json_schema;
mod keys;
mod levels;
mod manage;
mod ordering;
mod routing;
mod schema;
mod service;
mod tls;
mod together;
mod url;
mod value;
mod view;
mod yaml;

#[cfg(test)]
mod tests;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use context::Context;
pub(crate) use context::join;
pub use fault::Fault;
pub use json_schema::json_schema;
pub use levels::show_ports;
pub(crate) use tls::show_path;
pub(crate) use url::parse as parse_url;
pub use value::{show_cores, show_duration, show_size};
use yaml::Pos;

use crate::tls::settings::Authorities;

/// Largest configuration file; a thousand destinations fit in a fifth of it.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What became of a configuration file.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings, defaults filled in; present exactly when there is no fault.
    pub config: Option<model::Config>,
    /// What keeps the program from starting, in the order of the file.
    pub faults: Vec<Fault>,
    /// What a user should know and what does not keep the program from starting, in the order of the file.
    pub warnings: Vec<Fault>,
    /// Settings that the file gives: key path and line. A setting that is missing here has its default.
    pub lines: Vec<(String, usize)>,
}

/// What an unknown key is: an error, or (`run --unknown-keys=warn`) a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownKeys {
    /// It keeps the program from starting.
    #[default]
    Error,
    /// It is reported and otherwise ignored.
    Warn,
}

/// How files and environment variables are read that the configuration names; tests hold others against it.
#[derive(Debug, Clone, Copy)]
pub struct Outside {
    /// The bytes of a file of at most so many bytes, or what is wrong, and what to do about it.
    pub file: fn(&Path, u64) -> Result<Vec<u8>, String>,
    /// The value of an environment variable, or what is wrong, and what to do about it.
    pub variable: fn(&str) -> Result<String, String>,
    /// The system's authorities, or why there are none, and what to do about it.
    pub system: fn() -> Result<Arc<Authorities>, String>,
    /// Seconds since 1970.
    pub now: fn() -> u64,
}

impl Outside {
    /// The file system and the environment.
    pub const REAL: Outside = Outside { file: named_file, variable, system: system_authorities, now: unix_time };
}

/// Reads and checks the file at `path`; `-` is standard input. A file that cannot be read is one fault.
pub fn load(path: &Path, unknown: UnknownKeys) -> Loaded {
    let standard_input = path == Path::new("-");
    let name = if standard_input { "<stdin>".to_owned() } else { path.display().to_string() };
    let bytes = if standard_input { read_bounded(std::io::stdin().lock()) } else { read_file(path) };
    match bytes {
        Ok(bytes) => parse_bytes(&name, &bytes, unknown),
        Err(message) => refused(&name, None, message),
    }
}

/// Checks the bytes of a file: as [`parse`], and that they are UTF-8.
pub fn parse_bytes(name: &str, bytes: &[u8], unknown: UnknownKeys) -> Loaded {
    parse_bytes_with(name, bytes, unknown, Outside::REAL)
}

/// As [`parse_bytes`], with other files and another environment.
pub fn parse_bytes_with(name: &str, bytes: &[u8], unknown: UnknownKeys, outside: Outside) -> Loaded {
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        return refused(name, Some((1, 1)), "the file is UTF-16; save it as UTF-8".to_owned());
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => parse_with(name, text, unknown, outside),
        Err(error) => {
            let (good, bad) = bytes.split_at_checked(error.valid_up_to()).unwrap_or((bytes, &[]));
            let good = String::from_utf8_lossy(good);
            let line = good.matches('\n').count() + 1;
            let column = good.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            let byte = bad.first().copied().unwrap_or_default();
            let message = format!("a byte that is not UTF-8 (0x{byte:02X}); save the file as UTF-8");
            refused(name, Some((line, column)), message)
        }
    }
}

/// Checks `text`; `name` is what faults call the file, and relative paths start in the directory of `name`.
pub fn parse(name: &str, text: &str, unknown: UnknownKeys) -> Loaded {
    parse_with(name, text, unknown, Outside::REAL)
}

/// `service.manage` of the file at `path`, for commands that ask a connector that runs: what is wrong elsewhere, or what
/// only the connector's user may read, is not their affair.
///
/// # Errors
/// Faults of that section, or a file that cannot be read.
pub fn load_manage(path: &Path) -> Result<Option<model::Manage>, Vec<Fault>> {
    let name = path.display().to_string();
    let text = read_file(path)
        .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "the file is not UTF-8; save it as UTF-8".to_owned()));
    let text = text.map_err(|message| refused(&name, None, message).faults)?;
    let outside = Outside { system: || Err(String::new()), ..Outside::REAL };
    let (config, faults) = read(&name, &text, UnknownKeys::Warn, outside);
    let about = |fault: &Fault| fault.path == "service.manage" || fault.path.starts_with("service.manage.");
    match config {
        None => Err(faults.faults),
        Some(_) if faults.faults.iter().any(about) => Err(faults.faults.into_iter().filter(about).collect()),
        Some(config) => Ok(config.service.manage),
    }
}

/// The token in the file at `path`, which stands in front of what is wrong with it.
///
/// # Errors
/// No such file, or no token in it.
pub fn token_of_file(path: &Path) -> Result<model::Secret, String> {
    let token = named_file(path, manage::MAX_TOKEN_FILE).and_then(manage::token_of);
    token.map_err(|why| format!("{}: {why}", path.display()))
}

/// As [`parse`], with other files and another environment.
pub fn parse_with(name: &str, text: &str, unknown: UnknownKeys, outside: Outside) -> Loaded {
    let (config, context) = read(name, text, unknown, outside);
    let config = config.filter(|_| context.faults.is_empty());
    Loaded { config, faults: context.faults, warnings: context.warnings, lines: context.lines }
}

/// The settings, whatever is wrong with them; none if there is nothing to be read.
fn read<'a>(name: &'a str, text: &str, unknown: UnknownKeys, outside: Outside) -> (Option<model::Config>, Context<'a>) {
    let directory = Path::new(name).parent().map(Path::to_path_buf).unwrap_or_default();
    let mut context = Context::new(name, absolute(directory), unknown, outside);
    let (root, yaml_faults) = yaml::read(text);
    let broken = root.is_none() && !yaml_faults.is_empty();
    for fault in yaml_faults {
        context.fault(fault.at, &fault.path, fault.message);
    }
    let config = match root.filter(|root| !root.is_null()) {
        Some(root) if !matches!(root.kind, yaml::Kind::Map(_)) => {
            let message =
                format!("{} where `key: value` lines are needed; begin with `service:`", value::describe(&root));
            context.fault(root.at, "", message);
            None
        }
        Some(root) => {
            keys::check(&mut context, &root);
            Some(convert::convert(&mut context, &root))
        }
        None if broken => None,
        None => {
            let message = "the file is empty; write at least `destinations` and `routing`".to_owned();
            context.fault(Pos::START, "", message);
            None
        }
    };
    context.finish();
    (config, context)
}

/// So that settings with paths mean the same when `check` prints them and another directory reads them.
fn absolute(directory: PathBuf) -> PathBuf {
    match std::env::current_dir() {
        Ok(here) => here.join(directory),
        Err(_) => directory,
    }
}

fn refused(name: &str, at: Option<(usize, usize)>, message: String) -> Loaded {
    let fault = Fault { file: name.to_owned(), at, path: String::new(), message, unknown_key: false };
    Loaded { config: None, faults: vec![fault], warnings: Vec::new(), lines: Vec::new() }
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |error: std::io::Error| {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => "check the path after -f",
            std::io::ErrorKind::PermissionDenied => "give the user that runs ringpost the right to read it",
            _ => "check the path after -f, and the file system",
        };
        format!("cannot read the file: {error}; {hint}")
    };
    let about = std::fs::metadata(path).map_err(cannot)?;
    if about.is_dir() {
        return Err("is a directory; write the path of a file after -f".to_owned());
    }
    read_bounded(std::fs::File::open(path).map_err(cannot)?)
}

/// A file that the configuration names. Devices and pipes are refused: reading them may never end.
pub(crate) fn named_file(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let why = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            "there is no such file; write its path (a relative one starts at the configuration file)".to_owned()
        }
        std::io::ErrorKind::PermissionDenied => {
            "permission denied; give the user that runs ringpost the right to read it".to_owned()
        }
        _ => format!("{error}; write the path of a file"),
    };
    if !std::fs::metadata(path).map_err(why)?.is_file() {
        return Err("it is no file; write the path of a file".to_owned());
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(why)?.take(most + 1).read_to_end(&mut bytes).map_err(why)?;
    if bytes.len() as u64 > most {
        return Err(format!("it is larger than {}; write a smaller one", show_size(most)));
    }
    Ok(bytes)
}

/// The system's authorities (`SSL_CERT_FILE`, `SSL_CERT_DIR`, or where this system has them).
pub(crate) fn system_authorities() -> Result<Arc<Authorities>, String> {
    Authorities::of_the_system(rustls_native_certs::load_native_certs().certs)
}

/// Seconds since 1970; certificates have dates of the calendar.
pub(crate) fn unix_time() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn variable(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|error| match error {
        std::env::VarError::NotPresent => "it is not set; set it where ringpost is started".to_owned(),
        std::env::VarError::NotUnicode(_) => "it is not UTF-8; write visible ASCII".to_owned(),
    })
}

fn read_bounded(source: impl Read) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = source.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("cannot read the file: {error}; check the path after -f"))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("is larger than {}; is this the configuration file?", show_size(MAX_FILE_BYTES)));
    }
    Ok(bytes)
}
