//! The effective settings as a configuration file: every setting with its value, and whether the file or the default
//! gave it. What is printed can be loaded again; queries of URLs and texts of headers, which may hold a key, are masked.

mod levels;
mod selected;
mod tls;

pub use selected::{Selection, print_selected};

use std::collections::HashMap;
use std::fmt::Write;

use super::Loaded;
use super::context::join;
use super::model::{
    Config, ContentErrors, Cores, Destination, HeaderValue, Headers, HealthCheck, LogFormat, LogLevel, Protocol,
    StatusSet,
};
use super::value::{show_cores, show_duration, show_size};

/// Column at which the remark of a setting begins, if the setting is short enough.
const REMARK_COLUMN: usize = 60;

/// The settings of `loaded`, or nothing if it has faults. `cores`: those that the executors would get on
/// this machine.
pub fn print(loaded: &Loaded, cores: &Result<Vec<usize>, String>) -> String {
    let Some(config) = &loaded.config else { return String::new() };
    let mut page = Page::new(loaded);
    service(&mut page, config);
    page.section(0, "destinations");
    for destination in &config.destinations {
        one_destination(&mut page, destination, cores.as_ref().map_or(1, Vec::len));
    }
    levels::print(&mut page, config);
    rejected(&mut page, config);
    logging(&mut page, config);
    executors(&mut page, config, cores);
    limits(&mut page, config);
    page.text
}

struct Page<'a> {
    text: String,
    lines: HashMap<&'a str, usize>,
}

impl<'a> Page<'a> {
    fn new(loaded: &'a Loaded) -> Page<'a> {
        let lines = loaded.lines.iter().map(|(path, line)| (path.as_str(), *line)).collect();
        Page { text: String::new(), lines }
    }

    fn section(&mut self, depth: usize, key: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{:depth$}{}:", "", quoted(key), depth = depth * 2);
    }

    /// `key: value  # line 7`, or `# default`; `paths` are the spellings of the key that the file may have used.
    fn setting(&mut self, depth: usize, paths: &[String], key: &str, value: &str, more: &str) {
        let place = match paths.iter().find_map(|path| self.lines.get(path.as_str())) {
            Some(line) => format!("line {line}"),
            None => "default".to_owned(),
        };
        let key = if key.starts_with("# ") { key.to_owned() } else { quoted(key) };
        let line = format!("{:depth$}{key}: {value}", "", depth = depth * 2);
        let _ = writeln!(self.text, "{line:<REMARK_COLUMN$} # {place}{more}");
    }

    fn one(&mut self, depth: usize, section: &str, key: &str, value: &str) {
        self.setting(depth, &[join(section, key)], key, value, "");
    }
}

fn service(page: &mut Page<'_>, config: &Config) {
    let service = &config.service;
    page.section(0, "service");
    let addresses = service.addresses.iter().map(|address| format!("\"{address}\""));
    page.one(1, "service", "address", &list(addresses));
    let paths = ["service.port".to_owned(), "service.ports".to_owned()];
    if !service.ports.is_empty() {
        page.setting(1, &paths, "port", &list(service.ports.iter().map(u16::to_string)), "");
    }
    if let Some(tls) = &service.tls {
        tls::of_service(page, tls);
    }
    let paths = ["service.max-concurrent-records".to_owned(), "service.max-concurrent-requests".to_owned()];
    page.setting(1, &paths, "max-concurrent-records", &service.max_concurrent_records.to_string(), "");
    let bytes = service.socket_receive_buffer_bytes.map_or("null".to_owned(), |bytes| bytes.to_string());
    page.one(1, "service", "socket-receive-buffer-bytes", &bytes);
    if let Some(name) = &service.cluster_name {
        page.one(1, "service", "cluster-name", &serde_json::Value::from(name.as_str()).to_string());
    }
    if let Some(manage) = &service.manage {
        page.section(1, "manage");
        let addresses = manage.addresses.iter().map(|address| format!("\"{address}\""));
        page.one(2, "service.manage", "address", &list(addresses));
        let paths = ["service.manage.port".to_owned(), "service.manage.ports".to_owned()];
        page.setting(2, &paths, "port", &list(manage.ports.iter().map(u16::to_string)), "");
        let token = if manage.token.is_some() { "***" } else { "null" };
        page.one(2, "service.manage", "# token", token);
        if let Some(tls) = &manage.tls {
            tls::of_manage(page, tls);
        }
    }
    if service.allowed_networks.is_empty() {
        page.one(1, "service", "# allowed-networks", "all");
    } else {
        let networks = service.allowed_networks.iter().map(|network| format!("\"{network}\""));
        page.one(1, "service", "allowed-networks", &list(networks));
    }
}

fn one_destination(page: &mut Page<'_>, destination: &Destination, executors: usize) {
    page.section(1, &destination.name);
    let section = join("destinations", &destination.name);
    let number = |page: &mut Page<'_>, key: &str, value: String| page.one(2, &section, key, &value);
    number(page, "urls", urls(destination));
    number(page, "protocol", destination.protocol.name().to_owned());
    number(page, "call-timeout", destination.call_timeout.as_millis().to_string());
    number(page, "connect-timeout", destination.connect_timeout.as_millis().to_string());
    let connections = destination.max_connections_per_endpoint;
    let more = match executors {
        0 | 1 => String::new(),
        _ => format!(", at most {} with {executors} executors", destination.most_connections(executors)),
    };
    let key = "max-connections-per-endpoint";
    page.setting(2, &[join(&section, key)], key, &connections.to_string(), &more);
    let ttl = destination.connection_ttl.map_or("-1".to_owned(), |ttl| ttl.as_millis().to_string());
    number(page, "connection-ttl", ttl);
    number(page, "max-request-queued-per-endpoint", destination.max_request_queued_per_endpoint.to_string());
    if destination.protocol == Protocol::Http2 {
        number(page, "http2-max-concurrent-streams", destination.http2_max_concurrent_streams.to_string());
    }
    let key = "http-success-status-codes";
    if destination.success == StatusSet::successful() {
        // A hundred numbers would hide the other lines.
        page.setting(2, &[join(&section, key)], &format!("# {key}"), "all of 200 to 299", "");
    } else {
        page.one(2, &section, key, &codes(&destination.success));
    }
    page.one(2, &section, "permanent-status-codes", &codes(&destination.permanent));
    page.one(2, &section, "compression", if destination.gzip_above.is_some() { "gzip" } else { "none" });
    if let Some(threshold) = destination.gzip_above {
        page.one(2, &section, "compression-threshold", &show_size(threshold));
    }
    if let Some(tls) = &destination.tls {
        tls::of_destination(page, &section, tls);
    }
    headers(page, &section, &destination.headers, false);
    page.one(2, &section, "retry-after-cap", &show_duration(destination.retry_after_cap));
    health(page, &section, &destination.health);
}

fn health(page: &mut Page<'_>, destination: &str, health: &HealthCheck) {
    page.section(2, "health-check");
    let section = join(destination, "health-check");
    let mut one = |key: &str, value: String| page.one(3, &section, key, &value);
    one("enabled", health.enabled.to_string());
    if health.enabled {
        one("interval-seconds", health.interval.as_secs().to_string());
        one("call-timeout", health.call_timeout.as_millis().to_string());
        one("healthy-threshold", health.healthy_threshold.to_string());
    }
    one("unhealthy-threshold", health.unhealthy_threshold.to_string());
    if health.enabled {
        if let Some(path) = &health.path {
            // A query may hold a key.
            let shown = path.split_once('?').map_or_else(|| path.clone(), |(path, _)| format!("{path}?..."));
            one("path", quoted(&shown));
        }
        one("method", health.method.name().to_owned());
        if let Some(success) = &health.success {
            one("success-status-codes", codes(success));
        }
    }
}

fn urls(destination: &Destination) -> String {
    list(destination.urls.iter().map(|url| format!("\"{url}\"")))
}

fn codes(set: &StatusSet) -> String {
    list(set.codes().map(|code| code.to_string()))
}

/// `batched`: for requests with several records.
fn headers(page: &mut Page<'_>, destination: &str, headers: &Headers, batched: bool) {
    page.section(2, "headers");
    let section = join(destination, "headers");
    let digest = "aerospike-digest";
    let own = headers.list.iter().any(|header| header.name.eq_ignore_ascii_case(digest));
    if headers.digest {
        let more = if batched { ": not sent with several records" } else { "" };
        page.setting(3, &[join(&section, digest)], digest, "{ source: digest }", more);
    } else if !own {
        page.one(3, &section, digest, "null");
    }
    for header in &headers.list {
        let source = |source: &str| format!("{{ source: {source} }}");
        let (value, more) = match &header.value {
            HeaderValue::Static(_) => ("\"***\"".to_owned(), ", not shown: it may be a secret"),
            HeaderValue::Env(name, _) => (format!("{{ source: env, name: {} }}", quoted(name)), ""),
            HeaderValue::File(path, _) => {
                (format!("{{ source: file, path: {} }}", quoted(&path.display().to_string())), "")
            }
            HeaderValue::Bin(name) => (format!("{{ source: bin-value, bin-name: {} }}", quoted(name)), ""),
            HeaderValue::Digest => (source("digest"), ""),
            HeaderValue::Namespace => (source("namespace"), ""),
            HeaderValue::Set => (source("set"), ""),
            HeaderValue::UserKey => (source("user-key"), ""),
            HeaderValue::LastUpdate => (source("lut"), ""),
            HeaderValue::Generation => (source("generation"), ""),
            HeaderValue::Operation => (source("operation"), ""),
        };
        page.setting(3, &[join(&section, &header.name)], &header.name, &value, more);
    }
}

fn rejected(page: &mut Page<'_>, config: &Config) {
    let word = match config.content_errors {
        ContentErrors::Permanent => "permanent",
        ContentErrors::Temporary => "temporary",
    };
    page.one(0, "", "content-errors", word);
    if let Some(rejected) = &config.rejected {
        page.one(0, "", "rejected-file", &quoted(&rejected.file.display().to_string()));
        page.one(0, "", "rejected-file-max-bytes", &show_size(rejected.max_bytes));
    }
}

fn logging(page: &mut Page<'_>, config: &Config) {
    let logging = &config.logging;
    page.section(0, "logging");
    if let Some(file) = &logging.file {
        page.one(1, "logging", "file", &quoted(&file.display().to_string()));
    }
    page.one(1, "logging", "enable-console-logging", &logging.console.to_string());
    let format = match logging.format {
        LogFormat::Simple => "simple",
        LogFormat::Json => "json",
    };
    page.one(1, "logging", "format", format);
    page.one(1, "logging", "max-history", &logging.max_history.to_string());
    page.one(1, "logging", "ticker-interval", &logging.ticker_interval.as_secs().to_string());
    page.section(1, "levels");
    if !logging.levels.iter().any(|(name, _)| name == "root") {
        page.one(2, "logging.levels", "root", "info");
    }
    for (name, level) in &logging.levels {
        let level = match level {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        };
        page.one(2, "logging.levels", name, level);
    }
}

fn executors(page: &mut Page<'_>, config: &Config, cores: &Result<Vec<usize>, String>) {
    let executors = &config.executors;
    page.section(0, "executors");
    let here = match cores {
        Ok(cores) if cores.len() == 1 => format!(", here 1 executor on core {}", show_cores(cores)),
        Ok(cores) => format!(", here {} executors on cores {}", cores.len(), show_cores(cores)),
        Err(_) => ", not possible here".to_owned(),
    };
    let (value, path) = match &executors.cores {
        Cores::All => ("all".to_owned(), "executors.cores"),
        Cores::Count(count) => (count.to_string(), "executors.cores"),
        Cores::AtMost(count) => (count.to_string(), "service.io-threads"),
        Cores::List(list) => (format!("\"{}\"", show_cores(list)), "executors.cores"),
    };
    let here = if path == "service.io-threads" { format!(" (service.io-threads), at most{here}") } else { here };
    page.setting(1, &[path.to_owned()], "cores", &value, &here);
    page.one(1, "executors", "pin", &executors.pin.to_string());
    page.one(1, "executors", "in-flight-bytes", &show_size(executors.in_flight_bytes));
    page.one(1, "executors", "heartbeat-limit", &show_duration(executors.heartbeat_limit));
    page.one(1, "executors", "busy-poll", &show_duration(executors.busy_poll));
}

fn limits(page: &mut Page<'_>, config: &Config) {
    let limits = &config.limits;
    page.section(0, "limits");
    page.one(1, "limits", "record-deadline", &show_duration(limits.record_deadline));
    page.one(1, "limits", "drain", &show_duration(limits.drain));
    page.one(1, "limits", "max-frame-bytes", &show_size(limits.max_frame_bytes.into()));
    page.one(1, "limits", "max-depth", &limits.max_depth.to_string());
    page.one(1, "limits", "partial-frame-timeout", &show_duration(limits.partial_frame_timeout));
    page.one(1, "limits", "ack-write-timeout", &show_duration(limits.ack_write_timeout));
    page.one(1, "limits", "xdr-keepalive", &show_duration(limits.xdr_keepalive));
}

/// A flow list; a hundred codes are written as one line, too.
fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() { "[]".to_owned() } else { format!("[ {} ]", items.join(", ")) }
}

/// Text as YAML reads it back: plain where that is safe, else as a JSON string, which is YAML.
fn quoted(text: &str) -> String {
    let word = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    let plain = word
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && !["null", "true", "false", "yes", "no", "on", "off", "y", "n"].contains(&text.to_ascii_lowercase().as_str())
        && text.parse::<f64>().is_err();
    if plain {
        return text.to_owned();
    }
    let json = serde_json::Value::from(text).to_string();
    // JSON allows these as they are, YAML does not.
    let escape =
        |c: char| if c.is_control() || c == '\u{feff}' { format!("\\u{:04x}", u32::from(c)) } else { c.into() };
    json.chars().map(escape).collect()
}
