//! Every key that is known: those that work, and those that the official connector documents (or that we plan) and
//! that do not work yet.
//!
//! Source: Aerospike's public documentation of aerospike-esp-outbound and its Helm chart; our own keys are `executors`,
//! `limits`, `content-errors`, `rejected-file` and those that the documentation marks as ours.

use super::Type::{
    AnyCase, AnyText, Boolean, Cores, Duration, List, ListOrEmpty, Pattern, Size, Text, Whole, WordOrNull, Words,
};
use super::{Key, Section, Shape, Type, is_true, java, named, section, works};

const PORT: Type = Whole(1, 65_535);
const HOUR_MS: i64 = 3_600_000;

/// Milliseconds of a year.
const YEAR_MS: i64 = 365 * 24 * HOUR_MS;
const GIB: u64 = 1 << 30;

/// The top level.
pub static ROOT: Section = Section {
    path: "the top level",
    short: None,
    keys: &[
        section("service", &SERVICE, "Where XDR connects, and how much is in flight."),
        named("destinations", &DESTINATION, "Where records go; a section per destination, under a name of your own."),
        section("routing", &ROUTING, "Which destinations a record goes to."),
        section("format", &FORMAT, "How a record is written."),
        section("bin-transforms", &BIN_TRANSFORMS, "Which bins are delivered, and under which names."),
        section("batching", &BATCHING, "Several records in one request."),
        section(
            "record-ordering",
            &RECORD_ORDERING,
            "One version of a record in flight, in the order of their updates.",
        ),
        named("namespaces", &NAMESPACE, "Settings of one namespace, in place of those of the top level."),
        named("port-based-config", &PORT_BLOCK, "Settings for records that arrive on one listening port."),
        works("content-errors", Words(&["permanent", "temporary"]), "The answer to a record that cannot be expressed.")
            .default("permanent"),
        works("rejected-file", Text, "File to which records are appended that are given up for their content."),
        works("rejected-file-max-bytes", Size(4 << 10, 1024 * GIB), "The rejected file does not grow beyond this.")
            .default("1GiB"),
        section("logging", &LOGGING, "Where log lines go."),
        section("executors", &EXECUTORS, "Cores and memory."),
        section("limits", &LIMITS, "Named bounds."),
        java("custom-transformer"),
    ],
};

static SERVICE: Section = Section {
    path: "service",
    short: None,
    keys: &[
        works("port", List(&PORT), "Clear-text ports for XDR, each bound on each address.").default("8080"),
        works("ports", List(&PORT), "Early spelling of `port`."),
        works("address", List(&Text), "IP addresses to bind.").default("0.0.0.0"),
        works("protocol", Words(&["TCP"]), "XDR of server 5.0 and later.").default("TCP").or_null(),
        works("io-threads", Whole(1, 100_000), "At most so many executors, when there is no `executors`.").or_null(),
        works("worker-threads", Whole(1, 100_000), "Has no effect: there are no workers.").or_null(),
        works("max-concurrent-records", Whole(1, 10_000_000), "Records in flight in the whole process.")
            .default("32768"),
        works("max-concurrent-requests", Whole(1, 10_000_000), "Early spelling of `max-concurrent-records`."),
        works("socket-receive-buffer-bytes", Whole(4096, 16 << 20), "Bytes of one read from an XDR connection.")
            .default("null")
            .or_null(),
        section("tls", &SERVICE_TLS, "TLS ports for XDR."),
        section("manage", &MANAGE, "The port for metrics and health."),
        works("cluster-name", Text, "The label `cluster_name` of every series of metrics."),
        works("enable-tcp-xdr-ack-buffering", Boolean, "Many acks in one write.")
            .default("true")
            .later("write `true`, which is the default: many acks go out in one write")
            .unless(is_true),
        works("http2-max-concurrent-streams", Whole(-1, 1 << 30), "Of HTTP ingress.")
            .later("take it out (it belongs to HTTP ingress)"),
        works("allowed-networks", ListOrEmpty(&Text), "Networks from which XDR connections are taken; all unless set."),
    ],
};

// What every `tls` section has.
const KEY_PROTOCOLS: Key = works("protocols", List(&Text), "TLS versions; TLSv1.2 and TLSv1.3 unless set.");
const KEY_CIPHERS: Key = works("ciphers", List(&Text), "Cipher suites by their IANA or Java names.");
const KEY_CERTIFICATE: Key =
    works("certificate-file", Text, "In place of `key-store`: the certificate and its chain, PEM.");
const KEY_PRIVATE_KEY: Key = works("private-key-file", Text, "The private key, when it is in a file of its own.");
const KEY_PASSWORD: Key = works("key-password-file", Text, "File whose first line is the private key's password.");
const KEY_AUTHORITIES: Key = works("ca-file", Text, "In place of `trust-store`: authorities, PEM.");

/// The keys that are given, and those that the TLS of every listening port has.
macro_rules! listening_tls {
    ($($own:expr),* $(,)?) => {
        &[
            $($own,)*
            section("key-store", &STORE, "The server's certificate and private key."),
            section("trust-store", &STORE, "Authorities of client certificates."),
            KEY_PROTOCOLS,
            KEY_CIPHERS,
            works("allowed-peer-names", List(&Text), "A client has to show a certificate for one of these names."),
            KEY_CERTIFICATE,
            KEY_PRIVATE_KEY,
            KEY_PASSWORD,
            KEY_AUTHORITIES,
        ]
    };
}

static SERVICE_TLS: Section = Section {
    path: "service.tls",
    short: None,
    keys: listening_tls![
        works("port", List(&PORT), "TLS ports for XDR, each bound on each address."),
        works("ports", List(&PORT), "Early spelling of `port`."),
        works("address", List(&Text), "IP addresses to bind; 0.0.0.0 unless set."),
    ],
};

static STORE: Section = Section {
    path: "a key or trust store",
    short: None,
    keys: &[
        works("store-file", Text, "PKCS#12, JKS or PEM; the content decides."),
        works("store-password-file", Text, "File whose first line is the store's password."),
        works(
            "key-password-file",
            Text,
            "Key store: file whose first line is the private key's password, if it is another one.",
        ),
        works("store-type", Text, "Has no effect: the content decides."),
        works("certificate-file", Text, "Key store, in place of `store-file`: the certificate and its chain, PEM."),
        works("private-key-file", Text, "Key store: the private key, when it is in a file of its own."),
        works("ca-file", Text, "Trust store, in place of `store-file`: authorities, PEM."),
    ],
};

static MANAGE: Section = Section {
    path: "service.manage",
    short: None,
    keys: &[
        works("port", List(&PORT), "Port for metrics and health."),
        works("ports", List(&PORT), "Early spelling of `port`."),
        works("address", List(&Text), "IP addresses to bind; 0.0.0.0 unless set."),
        works("token-file", Text, "File whose first line is the token that opens every page to other machines."),
        section("tls", &MANAGE_TLS, "The port speaks TLS, and nothing else."),
    ],
};

static MANAGE_TLS: Section = Section { path: "service.manage.tls", short: None, keys: listening_tls![] };

static DESTINATION: Section = Section {
    path: "destinations.NAME",
    short: None,
    keys: &[
        works("urls", List(&Pattern("^[Hh][Tt][Tt][Pp][Ss]?://[^@]+$")), "Records are spread over these URLs.")
            .required(),
        works("protocol", Words(&["HTTP_2", "HTTP_1_1"]), "HTTP version; HTTP/2 by prior knowledge.").default("HTTP_2"),
        works("call-timeout", Whole(1, HOUR_MS), "Milliseconds from leaving the queue to the end of the response.")
            .default("1000"),
        works("connect-timeout", Whole(1, HOUR_MS), "Milliseconds until a connection is there.").default("300"),
        works("max-connections-per-endpoint", PORT, "Connections per URL, in the whole process.").default("1"),
        works("max-request-queued-per-endpoint", Whole(1, 10_000_000), "Records that wait for a connection, per URL.")
            .default("32768"),
        works("http2-max-concurrent-streams", Whole(1, 1 << 30), "Requests at a time on one HTTP/2 connection.")
            .default("256"),
        works("http-success-status-codes", List(&Whole(200, 599)), "Status codes that count as success; 200 to 299."),
        works("permanent-status-codes", ListOrEmpty(&Whole(200, 599)), "Status codes that give a record up.")
            .default("[]"),
        works("compression", Words(&["none", "gzip"]), "Compression of request bodies.").default("none"),
        works("compression-threshold", Size(0, GIB), "Bodies of more bytes are compressed.").default("0"),
        named("headers", &HEADER, "Request headers: a name and its text, or where the value is from."),
        section("tls", &DESTINATION_TLS, "TLS of https URLs."),
        works("connection-ttl", Whole(-1, YEAR_MS), "Milliseconds after which a connection is replaced; -1: never.")
            .default("-1"),
        section("health-check", &HEALTH_CHECK, "Probes of every URL, and what makes one unhealthy."),
        works("retry-after-cap", Duration("0us", "3600s"), "Longest pause that Retry-After can ask for; 0s: none.")
            .default("30s"),
    ],
};

static HEADER: Section = Section {
    path: "destinations.NAME.headers.NAME",
    short: Some(AnyText),
    keys: &[
        works("source", Words(HEADER_SOURCES), "Where the value is from.").required(),
        works("bin-name", Text, "With `source: bin-value`: the bin."),
        works("name", Text, "With `source: env`: the environment variable."),
        works("path", Text, "With `source: file`: the file, whose first line is the value."),
    ],
};

/// Words of a header's `source`.
pub const HEADER_SOURCES: &[&str] =
    &["digest", "namespace", "set", "user-key", "lut", "generation", "operation", "bin-value", "env", "file"];

static DESTINATION_TLS: Section = Section {
    path: "destinations.NAME.tls",
    short: None,
    keys: &[
        section("key-store", &STORE, "The client's certificate and private key."),
        section("trust-store", &STORE, "Authorities of server certificates; the system's unless set."),
        KEY_PROTOCOLS,
        KEY_CIPHERS,
        works("server-name", Text, "The name that the server's certificate has to have; the URL's host unless set."),
        KEY_CERTIFICATE,
        KEY_PRIVATE_KEY,
        KEY_PASSWORD,
        KEY_AUTHORITIES,
    ],
};

static HEALTH_CHECK: Section = Section {
    path: "destinations.NAME.health-check",
    short: None,
    keys: &[
        works("enabled", Boolean, "Probes are sent.").default("true"),
        works("interval-seconds", Whole(1, 86_400), "Seconds between two probes of a URL.").default("5"),
        works("call-timeout", Whole(1, HOUR_MS), "Milliseconds of one probe.").default("1000"),
        works("healthy-threshold", Whole(1, 1_000), "Good probes in a row that make a URL healthy.").default("3"),
        works("unhealthy-threshold", Whole(1, 1_000), "Failed probes, or records, in a row that make it unhealthy.")
            .default("3"),
        works("path", Text, "Path and query of a probe, in place of the URL's."),
        works("method", AnyCase(&["GET", "HEAD", "OPTIONS"]), "Method of a probe.").default("GET"),
        works("success-status-codes", List(&Whole(200, 599)), "Status codes with which a probe passes."),
    ],
};

static ROUTING: Section = Section {
    path: "routing",
    short: None,
    keys: &[
        works("mode", Words(&["static-multi-destination", "skip", "static"]), "To these destinations, or nowhere.")
            .required(),
        works("destinations", List(&Text), "Names from `destinations`; each record goes to all of them."),
        works("destination", List(&Text), "With `mode: static`: the spelling of other connectors."),
        java("class"),
        java("params"),
    ],
};

/// Words of `format.mode`, in the order in which messages name them.
pub const FORMAT_MODES: &[&str] = &["flat-json", "json", "message-pack", "avro", "xdr", "msgpack"];

static FORMAT: Section = Section {
    path: "format",
    short: Some(Words(FORMAT_MODES)),
    keys: &[
        works("mode", Words(FORMAT_MODES), "The format.").required(),
        works("metadata-key", Text, "flat-json, avro: the member that holds the metadata."),
        works("stringify-map-keys", Boolean, "json, flat-json, avro: numbers as map keys become strings.")
            .default("true"),
        works("schema", Text, "avro: the schema, JSON as text."),
        works("schema-file", Text, "avro: the file that holds the schema."),
        works("delete-metadata", Boolean, "message-pack: deletes carry generation and last-update time.")
            .default("false"),
        works("non-finite-floats", WordOrNull("string"), "json, flat-json: NaN and infinities as strings or null.")
            .default("string"),
        works("invalid-utf8", Words(&["replace", "base64", "reject"]), "Text that is not UTF-8.").default("replace"),
        java("class"),
        java("batch-formatter-class"),
        java("params"),
        java("payload-format"),
    ],
};

static BIN_TRANSFORMS: Section = Section {
    path: "bin-transforms",
    short: None,
    keys: &[
        section("include", &BINS, "Bins that are kept; all unless set."),
        section("exclude", &BINS, "Bins that are dropped, even if they are included; none unless set."),
        Key { shape: Shape::Map(Text), ..works("map", Text, "Old bin name and new bin name.") },
        Key {
            shape: Shape::Items(&TRANSFORM),
            ..works("transforms", Text, "For bins that `map` does not name, one after another.")
        },
    ],
};

static BINS: Section = Section {
    path: "bin-transforms.include",
    short: None,
    keys: &[
        works("type", Words(&["all", "none", "specified"]), "Which bins.").required(),
        works("bins", List(&Text), "With `type: specified`: their names."),
    ],
};

static TRANSFORM: Section = Section {
    path: "bin-transforms.transforms",
    short: Some(Words(&["lowercase", "uppercase", "trim"])),
    keys: &[section("regex", &REGEX, "Replaces every match, as Java's replaceAll does.").required()],
};

static REGEX: Section = Section {
    path: "bin-transforms.transforms.regex",
    short: None,
    keys: &[
        works("pattern", Text, "Pattern in Java's syntax.").required(),
        works("replacement", AnyText, "Replacement in Java's syntax: $1, ${name}.").required(),
    ],
};

static BATCHING: Section = Section {
    path: "batching",
    short: None,
    keys: &[
        works("enabled", Boolean, "Switches batching off at this level.").default("true"),
        works("max-bytes", Size(1, i64::MAX as u64), "A batch that has so many bytes is closed.")
            .default("9223372036854775807"),
        works("max-records", Whole(1, 2_147_483_647), "A batch that has so many records is closed.")
            .default("2147483647"),
        works("batch-interval", Whole(1, 2_147_483_647), "Milliseconds after its first record a batch is closed.")
            .default("8000"),
        works("body", Words(&["array", "ndjson"]), "How JSON records stand in one body.").default("array"),
    ],
};

static RECORD_ORDERING: Section = Section {
    path: "record-ordering",
    short: None,
    keys: &[
        works("enable", Boolean, "Switches ordering off at this level.").default("true"),
        works("lut-cache-ttl-seconds", Whole(1, 86_400), "How long the last version of a record is remembered.")
            .default("30"),
        works("coalesce-waiting", Boolean, "Of versions that wait, a complete newer one stands for the older ones.")
            .default("false"),
        works("max-entries", Whole(1, 100_000_000), "Records that are remembered, in the whole process.")
            .default("1000000"),
    ],
};

static NAMESPACE: Section = Section {
    path: "namespaces.NAME",
    short: None,
    keys: &[
        section("routing", &ROUTING, "As at the top level."),
        section("format", &FORMAT, "As at the top level."),
        section("bin-transforms", &BIN_TRANSFORMS, "As at the top level."),
        section("batching", &BATCHING, "As at the top level."),
        named("sets", &SET, "Settings of one set, in place of those of its namespace."),
        section("record-ordering", &RECORD_ORDERING, "As at the top level."),
        java("custom-transformer"),
    ],
};

static SET: Section = Section {
    path: "namespaces.NAME.sets.NAME",
    short: None,
    keys: &[
        section("routing", &ROUTING, "As at the top level."),
        section("format", &FORMAT, "As at the top level."),
        section("bin-transforms", &BIN_TRANSFORMS, "As at the top level."),
        section("batching", &BATCHING, "As at the top level."),
        java("custom-transformer"),
    ],
};

static PORT_BLOCK: Section = Section {
    path: "port-based-config.PORT",
    short: None,
    keys: &[
        section("routing", &ROUTING, "As at the top level."),
        section("format", &FORMAT, "As at the top level."),
        section("bin-transforms", &BIN_TRANSFORMS, "As at the top level."),
        section("batching", &BATCHING, "As at the top level."),
        named("namespaces", &NAMESPACE, "As at the top level."),
        section("record-ordering", &RECORD_ORDERING, "As at the top level."),
        java("custom-transformer"),
    ],
};

static LOGGING: Section = Section {
    path: "logging",
    short: None,
    keys: &[
        works("file", Text, "Log file; the console unless set."),
        works("enable-console-logging", Boolean, "Lines go to the console, too.").default("false"),
        Key { shape: Shape::Map(AnyCase(LEVELS)), ..works("levels", Text, "Level by logger.") },
        works("format", Words(&["simple", "json"]), "Layout of a line.").default("simple"),
        works("max-history", Whole(0, 100_000), "Days that the files of earlier days are kept.").default("30"),
        works("ticker-interval", Whole(1, 86_400), "Seconds between ticker lines.").default("10"),
    ],
};

const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace"];

static EXECUTORS: Section = Section {
    path: "executors",
    short: None,
    keys: &[
        works("cores", Cores, "One executor per core: all, a number, or a list as text.").default("all"),
        works("pin", Boolean, "Each executor stays on its core.").default("true"),
        works("in-flight-bytes", Size(1 << 20, 1024 * GIB), "Records and requests in memory.").default("256MiB"),
        works("heartbeat-limit", Duration("1s", "3600s"), "An executor that stands still longer ends the process.")
            .default("5s"),
        works("busy-poll", Duration("0us", "1s"), "How long an idle executor spins before it sleeps.").default("0us"),
    ],
};

static LIMITS: Section = Section {
    path: "limits",
    short: None,
    keys: &[
        works("record-deadline", Duration("1s", "9s"), "From a record's last byte to its ack.").default("7s"),
        works("drain", Duration("0us", "3600s"), "What is in flight at shutdown may finish.").default("8s"),
        works("max-frame-bytes", Size(64 << 10, GIB), "Largest frame, after decompression too.").default("16MiB"),
        works("max-depth", Whole(1, 1024), "Nested lists and maps.").default("256"),
        works("partial-frame-timeout", Duration("1s", "3600s"), "A frame without progress closes its connection.")
            .default("30s"),
        works("ack-write-timeout", Duration("1s", "3600s"), "A peer that does not read its acks.").default("10s"),
        works("xdr-keepalive", Duration("1s", "3600s"), "TCP keep-alive on XDR connections.").default("60s"),
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
    &HEADER,
    &DESTINATION_TLS,
    &HEALTH_CHECK,
    &ROUTING,
    &FORMAT,
    &BIN_TRANSFORMS,
    &BINS,
    &TRANSFORM,
    &REGEX,
    &BATCHING,
    &RECORD_ORDERING,
    &NAMESPACE,
    &SET,
    &PORT_BLOCK,
    &LOGGING,
    &EXECUTORS,
    &LIMITS,
];
