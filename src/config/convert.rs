//! The keys that work: read, checked, converted once into [`model`](super::model).
//!
//! Every reader goes on after a fault, with the default in place of the wrong value, so that all faults come out in one
//! go. What a setting means stands in `docs/configuration.md`.

use std::path::PathBuf;
use std::time::Duration;

use super::context::Context;
use super::fault::shown;
use super::model::{
    BODY_PART, Config, ContentErrors, Cores, Executors, Limits, LogFormat, LogLevel, Logging, Rejected,
};
use super::value;
use super::view::{View, word};
use super::yaml::{Kind, Node};
use super::{destinations, levels, service, together};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Reads every setting that works from `root`.
pub fn convert(context: &mut Context<'_>, root: &Node) -> Config {
    let root = View::root(root);
    let limits = limits(context, &root);
    let before = context.count();
    let service = service::read(context, &root);
    // A wrong port is one fault; what refers to it is none.
    let ports = service.all_ports();
    let listening = (context.count() == before).then_some(ports.as_slice());
    let destinations = destinations::read(context, &root, &limits);
    let levels = levels::read(context, &root, &destinations, listening);
    let content_errors = content_errors(context, &root);
    let rejected = rejected(context, &root, content_errors);
    let logging = logging(context, &root);
    let executors = executors(context, &root, &limits);
    let config =
        Config { service, destinations, rules: levels.rules, content_errors, rejected, logging, executors, limits };
    together::check(context, &root, &config, levels.routing_has_fault);
    config
}

fn content_errors(context: &mut Context<'_>, root: &View<'_>) -> ContentErrors {
    let words = [("permanent", ContentErrors::Permanent), ("temporary", ContentErrors::Temporary)];
    root.choice(context, "content-errors", &words, ContentErrors::Permanent)
}

fn rejected(context: &mut Context<'_>, root: &View<'_>, content_errors: ContentErrors) -> Option<Rejected> {
    let file = file(context, root, "rejected-file");
    let max_bytes = root.size(context, "rejected-file-max-bytes", 4 << 10..=1 << 40, 1 << 30);
    let temporary = content_errors == ContentErrors::Temporary;
    let given = |key: &str| root.find(key).is_some();
    if temporary && given("rejected-file") {
        let message = "has no effect with `content-errors: temporary`: no record is given up; take it out".to_owned();
        root.warn(context, "rejected-file", message);
    }
    if given("rejected-file-max-bytes") && !given("rejected-file") {
        root.warn(context, "rejected-file-max-bytes", "has no effect without `rejected-file`; take it out".to_owned());
    }
    file.map(|file| Rejected { file, max_bytes })
}

/// A file that is written at run time.
fn file(context: &mut Context<'_>, view: &View<'_>, key: &str) -> Option<PathBuf> {
    let directory = context.directory.clone();
    view.read(context, key, None, |node| {
        let text = value::text(node)?;
        if text.ends_with('/') || text.ends_with("/.") || text == "." || text == ".." {
            return Err(format!("{} is a directory; write the path of a file", shown(&text)));
        }
        Ok(Some(directory.join(text)))
    })
}

fn limits(context: &mut Context<'_>, root: &View<'_>) -> Limits {
    let view = root.section(context, "limits");
    let default = Limits::default();
    let nine = Duration::from_secs(9);
    let size = |context: &mut Context<'_>| {
        let bytes = view.size(context, "max-frame-bytes", 64 << 10..=1 << 30, default.max_frame_bytes.into());
        u32::try_from(bytes).unwrap_or(default.max_frame_bytes)
    };
    Limits {
        record_deadline: view.duration(context, "record-deadline", SECOND..=nine, default.record_deadline),
        drain: view.duration(context, "drain", Duration::ZERO..=HOUR, default.drain),
        max_frame_bytes: size(context),
        max_depth: view.whole(context, "max-depth", 1..=1024, "", default.max_depth),
        partial_frame_timeout: view.duration(
            context,
            "partial-frame-timeout",
            SECOND..=HOUR,
            default.partial_frame_timeout,
        ),
        ack_write_timeout: view.duration(context, "ack-write-timeout", SECOND..=HOUR, default.ack_write_timeout),
        // Linux counts TCP_KEEPIDLE in seconds up to 32,767.
        xdr_keepalive: view.duration(context, "xdr-keepalive", SECOND..=HOUR, default.xdr_keepalive),
    }
}

fn executors(context: &mut Context<'_>, root: &View<'_>, limits: &Limits) -> Executors {
    let view = root.section(context, "executors");
    let threads = service::io_threads(context, root);
    let cores = match (threads, view.is_empty()) {
        (Some(threads), true) => Cores::AtMost(threads),
        (Some(_), false) => {
            let message =
                "has no effect, since `executors` is given; take it out, and set `executors.cores`".to_owned();
            root.section(context, "service").warn(context, "io-threads", message);
            Cores::All
        }
        (None, _) => Cores::All,
    };
    let cores = view.read(context, "cores", cores, read_cores);
    let in_flight_bytes = view.size(context, "in-flight-bytes", 1 << 20..=1 << 40, 256 << 20);
    if let Some(message) = too_little_room(in_flight_bytes, limits.max_frame_bytes.into()) {
        view.warn(context, "in-flight-bytes", message);
    }
    Executors {
        cores,
        pin: view.boolean(context, "pin", true),
        in_flight_bytes,
        heartbeat_limit: view.duration(context, "heartbeat-limit", SECOND..=HOUR, Duration::from_secs(5)),
        busy_poll: view.duration(context, "busy-poll", Duration::ZERO..=SECOND, Duration::ZERO),
    }
}

/// A body may have eight times the bytes of its message; the formats that people use stay below this for all but odd records.
const GROWTH_TO_HAVE_ROOM_FOR: u64 = 4;

/// What to say if records of `max-frame-bytes` may be too large for `in-flight-bytes`.
fn too_little_room(in_flight_bytes: u64, max_frame_bytes: u64) -> Option<String> {
    let frame = value::show_size(max_frame_bytes);
    if in_flight_bytes < max_frame_bytes {
        return Some(format!(
            "smaller than `limits.max-frame-bytes` ({frame}): one frame can take more than the whole budget; make it larger"
        ));
    }
    let enough = max_frame_bytes * GROWTH_TO_HAVE_ROOM_FOR * BODY_PART;
    (in_flight_bytes < enough).then(|| {
        format!(
            "the body of a record may take half of it ({}), or twice its message and 2MiB: a record of up to \
             `limits.max-frame-bytes` ({frame}) whose body takes more is bad content and not delivered; make it {} or more",
            value::show_size(in_flight_bytes / BODY_PART),
            value::show_size(enough),
        )
    })
}

fn read_cores(node: &Node) -> Result<Cores, String> {
    let Some(text) = node.text().filter(|_| !node.is_null()) else {
        return Err(match &node.kind {
            Kind::List(items) => {
                let numbers: Vec<&str> = items.iter().filter_map(Node::text).collect();
                format!("a YAML list; write the cores as one text: \"{}\"", numbers.join(","))
            }
            _ => "write all, a number of cores, or a list such as \"2-5,8\"".to_owned(),
        });
    };
    if text == "all" {
        return Ok(Cores::All);
    }
    // Without quotes a number is how many; in quotes it is which.
    if node.plain().is_some() && value::whole(node).is_ok() {
        let count = super::view::in_range(value::whole(node)?, &(1_u32..=1024), " cores")?;
        return Ok(Cores::Count(count as usize));
    }
    value::core_list(text).map(Cores::List)
}

/// The loggers that exist.
pub const LOGGERS: [&str; 5] = ["root", "record-parser", "server", "com.aerospike.connect", "metrics-ticker"];

fn logging(context: &mut Context<'_>, root: &View<'_>) -> Logging {
    let view = root.section(context, "logging");
    let file = file(context, &view, "file");
    let wanted = view.read(context, "enable-console-logging", None, |node| value::boolean(node).map(Some));
    let file_given = view.find("file").is_some();
    if wanted == Some(false) && !file_given {
        let message = "is false, and there is no `logging.file`: lines go to the console all the same; write a file";
        view.warn(context, "enable-console-logging", message.to_owned());
    }
    let console = wanted.unwrap_or(false) || !file_given;
    let formats = [("simple", LogFormat::Simple), ("json", LogFormat::Json)];
    let format = view.choice(context, "format", &formats, LogFormat::Simple);
    let max_history = view.whole(context, "max-history", 0..=100_000_u32, " days", 30);
    let ticker_interval = Duration::from_secs(view.whole(context, "ticker-interval", 1..=86_400_u64, " seconds", 10));
    Logging { file, console, format, levels: levels(context, &view), max_history, ticker_interval }
}

fn levels(context: &mut Context<'_>, logging: &View<'_>) -> Vec<(String, LogLevel)> {
    let view = logging.section(context, "levels");
    let mut levels = Vec::new();
    for entry in view.entries() {
        let words = [
            ("error", LogLevel::Error),
            ("warn", LogLevel::Warn),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
            ("trace", LogLevel::Trace),
        ];
        if !LOGGERS.contains(&entry.key.as_str()) {
            let message = format!("no logger has this name; the loggers are {}", LOGGERS.join(", "));
            view.warn(context, &entry.key, message);
        }
        let level = view.read(context, &entry.key, None, |node| {
            // Java's level names are often written in capitals.
            let small = node.text().map(str::to_ascii_lowercase);
            let same = small.and_then(|small| words.iter().find(|(word, _)| *word == small).map(|(_, level)| *level));
            same.map_or_else(|| word(node, &words), Ok).map(Some)
        });
        if let Some(level) = level {
            levels.push((entry.key.clone(), level));
        }
    }
    levels
}
