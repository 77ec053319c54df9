//! Every file of `examples/` is started, and does what its first lines promise.
//!
//! The files are taken as they are, but for ports, the sinks' addresses and the places of files, which are those of the
//! test. Bodies are read by libraries that share nothing with the encoders.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringpost_load::sink::{Behaviour, LoggedRequest, SinkConfig, SinkHandle};
use ringpost_load::tls::Tunnel;
use serde_json::{Value, json};
use support::*;

/// Requests that a sink keeps.
const LOGGED: usize = 64;

/// One example at work.
struct Example {
    process: Process,
    /// By the port in the file: 9000, 9001, 9002.
    sinks: Vec<SinkHandle>,
    /// Where 8901 and 8911 listen.
    ports: [u16; 2],
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

impl Example {
    #[track_caller]
    fn start(name: &str) -> Example {
        Example::start_with(name, None)
    }

    /// `tls`: what the first sink speaks.
    #[track_caller]
    fn start_with(name: &str, tls: Option<Arc<rustls::ServerConfig>>) -> Example {
        let mut text = std::fs::read_to_string(root().join(name)).unwrap();
        let sink = |address: &str, tls| {
            let address: SocketAddr = address.replace('#', &free_port().to_string()).parse().unwrap();
            let behaviour = Behaviour::default();
            let config = SinkConfig { address, behaviour, log_requests: LOGGED, tls, ..SinkConfig::default() };
            ringpost_load::sink::Sink::spawn(config).unwrap()
        };
        let sinks = vec![sink("127.0.0.1:#", tls), sink("127.0.0.1:#", None), sink("[::1]:#", None)];
        let ports = [free_port(), free_port()];
        for (from, to) in [
            // The other port of all-settings.yml.
            ("8902", free_port().to_string()),
            ("127.0.0.1:9000", sinks[0].addr().to_string()),
            ("127.0.0.1:9001", sinks[1].addr().to_string()),
            ("[::1]:9002", sinks[2].addr().to_string()),
            ("8901", ports[0].to_string()),
            ("8911", ports[1].to_string()),
            ("cores: all ", "cores: 1 ".to_owned()),
            ("pin: true", "pin: false".to_owned()),
            ("/var/lib/ringpost/", String::new()),
        ] {
            text = text.replace(from, &to);
        }
        if !text.contains("\nexecutors:") {
            text.push_str("\nexecutors: { cores: 1, pin: false }\n");
        }
        let folder = folder();
        let log = folder.join("ringpost.log");
        match text.find("  file: /var/log") {
            Some(at) => {
                let end = at + text[at..].find('\n').unwrap();
                text.replace_range(at..end, &format!("  file: {}", log.display()));
            }
            None => text.push_str(&format!("\nlogging: {{ file: {} }}\n", log.display())),
        }
        std::fs::create_dir(folder.join("schemas")).unwrap();
        for file in std::fs::read_dir(root().join("schemas")).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), folder.join("schemas").join(file.file_name())).unwrap();
        }
        let _ = std::os::unix::fs::symlink(root().join("tls"), folder.join("tls"));
        std::fs::write(folder.join("ringpost.yml"), text).unwrap();
        let mut process = spawn_in(folder, ports[0], |_| {});
        process.wait_listening();
        Example { process, sinks, ports }
    }

    /// Sends records `first` to `first + count` to a port; their codes.
    #[track_caller]
    fn send(&self, port: usize, first: u64, count: u64) -> Vec<u8> {
        let mut client = client(SocketAddr::from(([127, 0, 0, 1], self.ports[port])));
        client.send_frame(&frames(first, count)).unwrap();
        acks(&mut client, count as usize)
    }

    /// Sends one frame; its code.
    #[track_caller]
    fn send_frame(&self, frame: &[u8]) -> u8 {
        let mut client = client(SocketAddr::from(([127, 0, 0, 1], self.ports[0])));
        client.send_frame(frame).unwrap();
        client.read_ack().unwrap()
    }

    fn requests(&self, sink: usize) -> Vec<LoggedRequest> {
        self.sinks[sink].ledger().requests(0)
    }

    /// The only request of a sink.
    #[track_caller]
    fn only(&self, sink: usize) -> LoggedRequest {
        let mut requests = self.requests(sink);
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }

    #[track_caller]
    fn end(mut self) {
        self.process.stop();
    }
}

#[track_caller]
fn object(request: &LoggedRequest) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

#[track_caller]
fn sequence(request: &LoggedRequest) -> u64 {
    object(request)["seq"].as_u64().unwrap()
}

#[test]
fn no_example_is_left_out() {
    let tested = include_str!("e2e_examples.rs");
    for file in std::fs::read_dir(root()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".yml") {
            let started = ["start", "start_with"].map(|how| format!("Example::{how}(\"{name}\""));
            assert!(started.iter().any(|start| tested.contains(start)), "{name} is not exercised");
        }
    }
}

/// A file of the certificates that examples/tls.yml names.
fn tls_file(name: &str) -> Vec<u8> {
    static MADE: std::sync::Once = std::sync::Once::new();
    MADE.call_once(|| {
        let script = root().join("make-certificates");
        assert!(std::process::Command::new(script).status().expect("bash and openssl are there").success());
    });
    std::fs::read(root().join("tls").join(name)).unwrap()
}

fn tls_certificates(name: &str) -> Vec<rustls::pki_types::CertificateDer<'static>> {
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::CertificateDer::pem_slice_iter(&tls_file(name)).collect::<Result<_, _>>().unwrap()
}

fn tls_key(name: &str) -> rustls::pki_types::PrivateKeyDer<'static> {
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::PrivateKeyDer::from_pem_slice(&tls_file(name)).unwrap()
}

/// A node that shows its certificate, a destination that asks for one: both by rustls alone.
#[test]
fn tls_is_spoken_on_both_sides_with_certificates_on_all_four_ends() {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(tls_certificates("ca.pem").remove(0)).unwrap();
    let roots = Arc::new(roots);
    let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
    let mut billing = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(tls_certificates("billing.pem"), tls_key("billing-key.pem"))
        .unwrap();
    billing.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let example = Example::start_with("tls.yml", Some(Arc::new(billing)));
    let node = |own: Option<&str>| {
        let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots.clone());
        let config = match own {
            Some(name) => builder
                .with_client_auth_cert(tls_certificates(&format!("{name}.pem")), tls_key(&format!("{name}-key.pem")))
                .unwrap(),
            None => builder.with_no_client_auth(),
        };
        let port = SocketAddr::from(([127, 0, 0, 1], example.ports[1]));
        Tunnel::spawn(port, "connector.example", Arc::new(config)).unwrap()
    };
    let way = node(Some("node"));
    let mut allowed = client(way.addr());
    allowed.send_frame(&frames(0, 3)).unwrap();
    assert_eq!(acks(&mut allowed, 3), [0, 0, 0]);
    assert_eq!(example.send(0, 3, 1), [0], "the clear-text port beside it");
    let mut seen: Vec<u64> = example.requests(0).iter().map(sequence).collect();
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3]);
    for own in [None, Some("billing")] {
        let way = node(own);
        let mut stranger = client(way.addr());
        let _ = stranger.send_frame(&frames(9, 1));
        assert!(stranger.read_ack().is_err(), "{own:?} is not allowed to connect");
    }
    assert_eq!(example.requests(0).len(), 4);
    example.end();
}

#[test]
fn the_least_configuration_delivers_flat_json() {
    let example = Example::start("minimal.yml");
    assert_eq!(example.send(0, 0, 3), [0, 0, 0]);
    let mut seen: Vec<u64> = example.requests(0).iter().map(sequence).collect();
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2]);
    example.end();
}

#[test]
fn all_settings_together_make_compressed_batches() {
    let example = Example::start("all-settings.yml");
    assert_eq!(example.send(0, 0, 25), [0; 25]);
    let request = example.only(0);
    assert_eq!((request.header("content-encoding"), request.header("x-operation")), (Some("gzip"), Some("write")));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&request.body[..]).read_to_string(&mut text).unwrap();
    let records: Vec<Value> = serde_json::from_str(&text).unwrap();
    let seen: Vec<u64> = records.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert_eq!(seen, (0..25).collect::<Vec<_>>());
    example.end();
}

#[test]
fn two_destinations_get_every_record() {
    let example = Example::start("two-destinations.yml");
    assert_eq!(example.send(0, 0, 10), [0; 10]);
    assert_eq!(example.send(1, 10, 2), [0; 2]);
    let billing = example.requests(0).len() + example.requests(1).len();
    assert_eq!((billing, example.requests(2).len()), (12, 12));
    assert_eq!(object(&example.requests(2)[0])["msg"], "write");
    example.end();
}

#[test]
fn a_url_that_asks_to_be_left_alone_leaves_its_records_to_the_other_one() {
    let example = Example::start("health-check.yml");
    let busy = Behaviour { retry_after: Some("60".to_owned()), probe_status: Some(200), ..Behaviour::status(503) };
    example.sinks[0].set_behaviour(busy);
    let codes: Vec<u8> = (0..10).flat_map(|sequence| example.send(0, sequence, 1)).collect();
    assert_eq!(codes.iter().filter(|code| **code == 11).count(), 1, "{codes:?}");
    assert_eq!((example.requests(0).len(), example.requests(1).len()), (1, 9));
    example.process.wait_log("no record is sent there for 10s", LONG);
    for sink in 0..2 {
        wait_until("it is probed", LONG, || example.sinks[sink].ledger().stats().probes > 0);
    }
    example.end();
}

#[test]
fn message_pack_is_read_by_another_library() {
    let example = Example::start("message-pack.yml");
    assert_eq!(example.send(0, 7, 1), [0]);
    let request = example.only(0);
    assert_eq!(request.header("content-type"), Some("application/x-msgpack"));
    let message = rmpv::decode::read_value(&mut &request.body[..]).unwrap();
    let parts = message.as_array().unwrap();
    assert_eq!((parts[0].as_u64(), parts[1].as_u64()), (Some(1), Some(1)));
    let bins = parts[2][4].as_array().unwrap();
    let seq = bins.iter().find(|bin| bin[0].as_str() == Some("seq")).unwrap();
    assert_eq!((seq[1].as_u64(), seq[3].as_u64()), (Some(1), Some(7)));
    example.end();
}

#[test]
fn avro_is_read_by_another_library() {
    use apache_avro::types::Value as Avro;
    let example = Example::start("avro.yml");
    assert_eq!(example.send(0, 7, 1), [0]);
    let request = example.only(0);
    assert_eq!(request.header("content-type"), Some("application/avro"));
    let text = std::fs::read_to_string(root().join("schemas/row.avsc")).unwrap();
    let schema = apache_avro::Schema::parse_str(&text).unwrap();
    let mut body = &request.body[..];
    let reader = apache_avro::reader::datum::GenericDatumReader::builder(&schema).build().unwrap();
    let Avro::Record(fields) = reader.read_value(&mut body).unwrap() else { panic!() };
    assert!(body.is_empty());
    let field = |name: &str| &fields.iter().find(|(field, _)| field == name).unwrap().1;
    assert_eq!(field("seq"), &Avro::Union(1, Box::new(Avro::Long(7))));
    let Avro::Record(metadata) = field("metadata") else { panic!() };
    assert_eq!(metadata[0], ("namespace".to_owned(), Avro::String("test".to_owned())));
    assert_eq!(metadata[4], ("msg".to_owned(), Avro::Enum(0, "write".to_owned())));
    example.end();
}

#[test]
fn frames_pass_as_they_are() {
    let example = Example::start("xdr-proxy.yml");
    let frame = frames(7, 1);
    assert_eq!(example.send_frame(&frame), 0);
    let request = example.only(0);
    assert_eq!(request.body, frame);
    assert_eq!(request.header("content-type"), Some("application/octet-stream"));
    example.end();
}

#[test]
fn batches_are_compressed_lines() {
    let example = Example::start("batching.yml");
    assert_eq!(example.send(0, 0, 150), [0; 150]);
    let mut seen = Vec::new();
    for request in example.requests(0) {
        assert_eq!(request.header("content-type"), Some("application/x-ndjson"));
        assert_eq!((request.header("content-encoding"), request.path.as_str()), (Some("gzip"), "/bulk"));
        let mut text = String::new();
        flate2::read::GzDecoder::new(&request.body[..]).read_to_string(&mut text).unwrap();
        assert!(text.ends_with('\n'));
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap());
        let before = seen.len();
        seen.extend(lines);
        assert!(seen.len() - before <= 100);
    }
    assert_eq!(seen, (0..150).collect::<Vec<_>>());
    assert_eq!(example.requests(0).len(), 2);
    example.end();
}

#[test]
fn headers_are_those_of_the_file_and_of_the_record() {
    let example = Example::start("headers.yml");
    assert_eq!(example.send(0, 7, 1), [0]);
    let request = example.only(0);
    let metadata = &object(&request)["metadata"];
    let expected = [
        ("x-api-key", json!("only-an-example")),
        ("x-team", json!("payments")),
        ("x-namespace", metadata["namespace"].clone()),
        ("x-set", metadata["set"].clone()),
        ("x-operation", json!("write")),
        ("x-updated", json!(metadata["lut"].to_string())),
        ("x-generation", json!(metadata["gen"].to_string())),
        ("aerospike-digest", metadata["digest"].clone()),
    ];
    for (name, value) in expected {
        assert_eq!(request.header(name).map(Value::from), Some(value), "{name}");
    }
    let name = request.header("x-name").unwrap();
    assert_eq!(Value::from(name.replace("%20", " ")), object(&request)["name"]);
    example.end();
}

#[test]
fn bins_have_their_new_names() {
    let example = Example::start("bin-transforms.yml");
    assert_eq!(example.send(0, 7, 1), [0]);
    let record = object(&example.only(0));
    let names: Vec<&str> = record.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["metadata", "APP_SEQ", "APP_NAME", "amount", "APP_ACTIVE"]);
    assert_eq!(record["APP_SEQ"], 7);
    example.end();
}

#[test]
fn a_set_has_its_own_route_and_the_format_of_its_namespace() {
    use ringpost_load::record::{Generator, RecordSpec};
    let example = Example::start("namespaces.yml");
    let frame = |namespace: &str, set: &str| {
        let spec = RecordSpec { namespace: namespace.into(), set: set.into(), ..RecordSpec::default() };
        Generator::new(&spec).unwrap().frame(1)
    };
    for (namespace, set) in [("test", "demo"), ("test", "scratch"), ("test", "other"), ("more", "demo")] {
        assert_eq!(example.send_frame(&frame(namespace, set)), 0, "{namespace} {set}");
    }
    assert_eq!(object(&example.only(1))["metadata"]["set"], "demo");
    let events = example.requests(0);
    assert_eq!(events.len(), 2, "scratch is not delivered");
    assert_eq!(object(&events[0])["metadata"]["set"], "other");
    assert_eq!(object(&events[1])["key"][0], "more");
    example.end();
}

#[test]
fn each_port_has_its_own_destination_and_acks() {
    let example = Example::start("ports.yml");
    example.sinks[1].down().unwrap();
    assert_eq!(example.send(0, 0, 2), [0, 0]);
    assert_eq!(example.send(1, 2, 1), [11]);
    assert_eq!(example.requests(0).len(), 2);
    example.end();
}

#[test]
fn rejected_records_are_kept() {
    let example = Example::start("rejected-records.yml");
    let mut frame = frames(7, 1);
    let at = frame.windows(4).position(|four| four == b"demo").unwrap();
    frame[at] = 0xff;
    assert_eq!(example.send_frame(&frame), 10);
    assert_eq!(example.send(0, 8, 1), [0]);
    let kept = std::fs::read_to_string(example.process.folder.join("rejected.jsonl")).unwrap();
    let line: Value = serde_json::from_str(kept.trim_end()).unwrap();
    let bytes = base64_simd::STANDARD.decode_to_vec(line["frame"].as_str().unwrap()).unwrap();
    assert_eq!(bytes, frame);
    assert_eq!(example.requests(0).len(), 1);
    example.end();
}

#[test]
fn a_function_says_what_it_will_never_take() {
    let example = Example::start("serverless.yml");
    assert_eq!(example.send(0, 7, 1), [0]);
    assert_eq!(example.only(0).path, "/default/changes");
    example.sinks[0].set_behaviour(Behaviour { error_probability: 1.0, error_status: 400, ..Behaviour::default() });
    assert_eq!(example.send(0, 8, 1), [10]);
    example.end();
}

#[test]
fn an_older_version_is_acked_and_not_sent_where_records_are_ordered() {
    let example = Example::start("ordering.yml");
    let frame = |namespace: &str, lut| wire::Frame { lut: Some(lut), ..wire::Frame::new(7).namespace(namespace) };
    for (namespace, sent) in [("test", 2), ("logs", 3)] {
        let before = example.requests(0).len();
        for lut in [500_000_000_010, 500_000_000_009, 500_000_000_011] {
            assert_eq!(example.send_frame(&frame(namespace, lut).bytes()), 0);
        }
        assert_eq!(example.requests(0).len() - before, sent, "{namespace}");
    }
    example.end();
}
