//! Every key that is known: those that work, and those that the official connector documents (or that we plan) and
//! that do not work yet. What is not in this table is an unknown key.
//!
//! Source: Aerospike's public documentation of aerospike-esp-outbound and its Helm chart; our own keys are `executors`,
//! `limits` and those so marked. Values are read in [`convert`](super::convert); this page knows names only.

use super::value;
use super::yaml::{Kind, Node};

/// The keys of one kind of section.
#[derive(Debug)]
pub struct Section {
    /// Its path for messages, such as `destinations.NAME`.
    pub path: &'static str,
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
    Value,
    /// A section.
    Section(&'static Section),
    /// A section whose keys are names that the user chooses, each with such a section.
    Named(&'static Section),
    /// A section whose keys are not ours to check.
    Free,
}

const fn works(name: &'static str) -> Key {
    Key { name, status: Status::Works, shape: Shape::Value }
}

const fn later(name: &'static str, hint: &'static str) -> Key {
    Key { name, status: Status::Later { hint, harmless: never }, shape: Shape::Value }
}

impl Key {
    const fn of(mut self, section: &'static Section) -> Key {
        self.shape = Shape::Section(section);
        self
    }

    const fn named(mut self, section: &'static Section) -> Key {
        self.shape = Shape::Named(section);
        self
    }

    const fn free(mut self) -> Key {
        self.shape = Shape::Free;
        self
    }

    const fn unless(mut self, asks_for_nothing: fn(&Node) -> bool) -> Key {
        if let Status::Later { hint, .. } = self.status {
            self.status = Status::Later { hint, harmless: asks_for_nothing };
        }
        self
    }

    const fn java(name: &'static str) -> Key {
        Key { name, status: Status::Java, shape: Shape::Free }
    }
}

fn never(_: &Node) -> bool {
    false
}

fn is_true(node: &Node) -> bool {
    value::boolean(node) == Ok(true)
}

fn is_false(node: &Node) -> bool {
    value::boolean(node) == Ok(false)
}

/// A section that is switched off, whatever else stands in it.
fn not_enabled(node: &Node) -> bool {
    node.get("enabled").is_some_and(|entry| is_false(&entry.value))
}

/// The same in the spelling of `record-ordering`.
fn not_enable(node: &Node) -> bool {
    node.get("enable").is_some_and(|entry| is_false(&entry.value))
}

fn is_none_word(node: &Node) -> bool {
    node.text() == Some("none")
}

fn is_permanent_word(node: &Node) -> bool {
    node.text() == Some("permanent")
}

fn is_negative(node: &Node) -> bool {
    node.plain() == Some("-1")
}

fn is_zero(node: &Node) -> bool {
    node.plain() == Some("0")
}

/// An empty list or section.
fn is_empty(node: &Node) -> bool {
    match &node.kind {
        Kind::List(items) => items.is_empty(),
        Kind::Map(entries) => entries.is_empty(),
        Kind::Scalar { .. } => false,
    }
}

const TAKE_OUT: &str = "take it out";

/// The top level.
pub static ROOT: Section = Section {
    path: "the top level",
    keys: &[
        works("service").of(&SERVICE),
        works("destinations").named(&DESTINATION),
        works("routing").of(&ROUTING),
        works("format").of(&FORMAT),
        works("logging").of(&LOGGING),
        works("executors").of(&EXECUTORS),
        works("limits").of(&LIMITS),
        later("bin-transforms", "take it out (all bins are delivered under their own names)")
            .of(&BIN_TRANSFORMS)
            .unless(is_empty),
        later("batching", "take it out (each record is a request of its own)").of(&BATCHING).unless(not_enabled),
        later("record-ordering", "take it out (versions of a record may then overtake each other)")
            .of(&RECORD_ORDERING)
            .unless(not_enable),
        later("namespaces", "take it out (the settings of the top level hold for every namespace and set)")
            .named(&NAMESPACE)
            .unless(is_empty),
        later("port-based-config", "take it out (the settings of the top level hold for every port)")
            .named(&PORT)
            .unless(is_empty),
        Key::java("custom-transformer"),
        later("content-errors", "take it out (a record that cannot be decoded is acked as a permanent failure)")
            .unless(is_permanent_word),
        later("rejected-file", "take it out (rejected records are logged and counted)"),
        later("rejected-file-max-bytes", TAKE_OUT),
    ],
};

static SERVICE: Section = Section {
    path: "service",
    keys: &[
        works("port"),
        works("ports"),
        works("address"),
        works("protocol"),
        works("io-threads"),
        works("worker-threads"),
        works("max-concurrent-records"),
        works("max-concurrent-requests"),
        works("socket-receive-buffer-bytes"),
        later("tls", "take the section out and name a clear-text port in `service.port`").of(&SERVICE_TLS),
        later("manage", "take the section out (there is no metrics port yet)").of(&MANAGE),
        later("cluster-name", "take it out (it names a label of metrics, which there are none of yet)"),
        later("enable-tcp-xdr-ack-buffering", "write `true`, which is the default: many acks go out in one write")
            .unless(is_true),
        later("http2-max-concurrent-streams", "take it out (it belongs to HTTP ingress)"),
        later("allowed-networks", "take it out and use a firewall").unless(is_empty),
    ],
};

static SERVICE_TLS: Section = Section {
    path: "service.tls",
    keys: &[
        later("port", TAKE_OUT),
        later("ports", TAKE_OUT),
        later("address", TAKE_OUT),
        later("key-store", TAKE_OUT).of(&STORE),
        later("trust-store", TAKE_OUT).of(&STORE),
        later("protocols", TAKE_OUT),
        later("ciphers", TAKE_OUT),
        later("allowed-peer-names", TAKE_OUT),
        later("certificate-file", TAKE_OUT),
        later("private-key-file", TAKE_OUT),
        later("ca-file", TAKE_OUT),
    ],
};

static STORE: Section = Section {
    path: "a key or trust store",
    keys: &[
        later("store-file", TAKE_OUT),
        later("store-password-file", TAKE_OUT),
        later("key-password-file", TAKE_OUT),
        later("store-type", TAKE_OUT),
        later("certificate-file", TAKE_OUT),
        later("private-key-file", TAKE_OUT),
        later("ca-file", TAKE_OUT),
    ],
};

static MANAGE: Section = Section {
    path: "service.manage",
    keys: &[
        later("port", TAKE_OUT),
        later("ports", TAKE_OUT),
        later("address", TAKE_OUT),
        later("tls", TAKE_OUT).of(&SERVICE_TLS),
    ],
};

static DESTINATION: Section = Section {
    path: "destinations.NAME",
    keys: &[
        works("urls"),
        works("protocol"),
        works("call-timeout"),
        works("connect-timeout"),
        works("max-connections-per-endpoint"),
        works("max-request-queued-per-endpoint"),
        works("http2-max-concurrent-streams"),
        works("http-success-status-codes"),
        later("compression", "take it out or write `none` (bodies are sent as they are)").unless(is_none_word),
        later("compression-threshold", "take it out (bodies are not compressed)").unless(is_zero),
        later("tls", "take the section out (only http URLs work)").of(&DESTINATION_TLS),
        later("connection-ttl", "take it out or write `-1` (connections are kept)").unless(is_negative),
        later("health-check", "take it out (every URL is offered records)").of(&HEALTH_CHECK).unless(not_enabled),
        later("headers", "take it out (Content-Type and aerospike-digest are sent)").free().unless(is_empty),
        later("retry-after-cap", "take it out (Retry-After is not looked at)"),
        later("permanent-status-codes", "take it out or write `[]` (every failure is temporary)").unless(is_empty),
    ],
};

static DESTINATION_TLS: Section = Section {
    path: "destinations.NAME.tls",
    keys: &[
        later("key-store", TAKE_OUT).of(&STORE),
        later("trust-store", TAKE_OUT).of(&STORE),
        later("protocols", TAKE_OUT),
        later("ciphers", TAKE_OUT),
        later("certificate-file", TAKE_OUT),
        later("private-key-file", TAKE_OUT),
        later("ca-file", TAKE_OUT),
    ],
};

static HEALTH_CHECK: Section = Section {
    path: "destinations.NAME.health-check",
    keys: &[
        later("enabled", TAKE_OUT),
        later("healthy-threshold", TAKE_OUT),
        later("unhealthy-threshold", TAKE_OUT),
        later("interval-seconds", TAKE_OUT),
        later("call-timeout", TAKE_OUT),
        later("path", TAKE_OUT),
        later("method", TAKE_OUT),
        later("success-status-codes", TAKE_OUT),
    ],
};

static ROUTING: Section = Section {
    path: "routing",
    keys: &[
        works("mode"),
        works("destinations"),
        works("destination"),
        Key { name: "class", status: Status::Java, shape: Shape::Value },
        Key::java("params"),
    ],
};

static FORMAT: Section = Section {
    path: "format",
    keys: &[
        works("mode"),
        works("metadata-key"),
        works("stringify-map-keys"),
        later("schema", "take it out (it belongs to `mode: avro`)"),
        later("schema-file", "take it out (it belongs to `mode: avro`)"),
        later("delete-metadata", "take it out (it belongs to `mode: message-pack`)").unless(is_false),
        later("non-finite-floats", "take it out (NaN and infinities are written as strings)"),
        later("invalid-utf8", "take it out (text that is not UTF-8 is written with U+FFFD)"),
        Key { name: "class", status: Status::Java, shape: Shape::Value },
        Key { name: "batch-formatter-class", status: Status::Java, shape: Shape::Value },
        Key::java("params"),
        Key::java("payload-format"),
    ],
};

static BIN_TRANSFORMS: Section = Section {
    path: "bin-transforms",
    keys: &[
        later("include", TAKE_OUT).of(&BINS),
        later("exclude", TAKE_OUT).of(&BINS),
        later("map", TAKE_OUT).free(),
        later("transforms", TAKE_OUT),
    ],
};

static BINS: Section =
    Section { path: "bin-transforms.include", keys: &[later("type", TAKE_OUT), later("bins", TAKE_OUT)] };

static BATCHING: Section = Section {
    path: "batching",
    keys: &[
        later("enabled", TAKE_OUT),
        later("max-bytes", TAKE_OUT),
        later("max-records", TAKE_OUT),
        later("batch-interval", TAKE_OUT),
        later("body", TAKE_OUT),
    ],
};

static RECORD_ORDERING: Section = Section {
    path: "record-ordering",
    keys: &[
        later("enable", TAKE_OUT),
        later("lut-cache-ttl-seconds", TAKE_OUT),
        later("coalesce-waiting", TAKE_OUT),
        later("max-entries", TAKE_OUT),
    ],
};

static NAMESPACE: Section = Section {
    path: "namespaces.NAME",
    keys: &[
        later("bin-transforms", TAKE_OUT).of(&BIN_TRANSFORMS),
        later("routing", TAKE_OUT).of(&ROUTING),
        later("format", TAKE_OUT).of(&FORMAT),
        later("record-ordering", TAKE_OUT).of(&RECORD_ORDERING),
        later("batching", TAKE_OUT).of(&BATCHING),
        Key::java("custom-transformer"),
        later("sets", TAKE_OUT).named(&SET),
    ],
};

static SET: Section = Section {
    path: "namespaces.NAME.sets.NAME",
    keys: &[
        later("bin-transforms", TAKE_OUT).of(&BIN_TRANSFORMS),
        later("routing", TAKE_OUT).of(&ROUTING),
        later("format", TAKE_OUT).of(&FORMAT),
        later("batching", TAKE_OUT).of(&BATCHING),
        Key::java("custom-transformer"),
    ],
};

static PORT: Section = Section {
    path: "port-based-config.PORT",
    keys: &[
        later("bin-transforms", TAKE_OUT).of(&BIN_TRANSFORMS),
        later("routing", TAKE_OUT).of(&ROUTING),
        later("format", TAKE_OUT).of(&FORMAT),
        later("record-ordering", TAKE_OUT).of(&RECORD_ORDERING),
        later("batching", TAKE_OUT).of(&BATCHING),
        Key::java("custom-transformer"),
        later("namespaces", TAKE_OUT).named(&NAMESPACE),
    ],
};

static LOGGING: Section = Section {
    path: "logging",
    keys: &[
        works("file"),
        works("enable-console-logging"),
        works("levels").free(),
        works("format"),
        later("max-history", "take it out (the file is not rotated, use logrotate with `copytruncate`)"),
        later("ticker-interval", "take it out (there are no ticker lines yet)"),
    ],
};

static EXECUTORS: Section = Section {
    path: "executors",
    keys: &[works("cores"), works("pin"), works("in-flight-bytes"), works("heartbeat-limit"), works("busy-poll")],
};

static LIMITS: Section = Section {
    path: "limits",
    keys: &[
        works("record-deadline"),
        works("drain"),
        works("max-frame-bytes"),
        works("max-depth"),
        works("partial-frame-timeout"),
        works("ack-write-timeout"),
        works("xdr-keepalive"),
    ],
};

/// Every kind of section, for looking up where a misplaced key belongs.
pub static ALL: &[&Section] = &[
    &ROOT,
    &SERVICE,
    &SERVICE_TLS,
    &STORE,
    &MANAGE,
    &DESTINATION,
    &DESTINATION_TLS,
    &HEALTH_CHECK,
    &ROUTING,
    &FORMAT,
    &BIN_TRANSFORMS,
    &BINS,
    &BATCHING,
    &RECORD_ORDERING,
    &NAMESPACE,
    &SET,
    &PORT,
    &LOGGING,
    &EXECUTORS,
    &LIMITS,
];
