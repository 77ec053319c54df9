//! What the settings of `tls` sections take and refuse: rustls against rustls in memory, with certificates of rcgen.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use ringpost::config::model::{DestinationTls, KeyFiles, Offer, Protocol, ServiceTls, TrustFile};
use ringpost::tls::settings::{self, Authorities, Outside};
use ringpost::tls::{ClientTls, ServerTls, material, server_name};
use rustls::{CertificateError, ClientConfig, ClientConnection, Error, HandshakeKind, ServerConfig, ServerConnection};

/// Files in memory.
struct Files(HashMap<&'static str, String>);

/// An authority that signs.
struct Authority {
    params: CertificateParams,
    key: KeyPair,
}

/// What a certificate is like.
#[derive(Clone, Default)]
struct Wanted {
    dns: &'static [&'static str],
    common: Option<&'static str>,
    years: Option<(i32, i32)>,
    is_ca: bool,
}

impl Wanted {
    fn params(&self) -> CertificateParams {
        let names: Vec<String> = self.dns.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = DistinguishedName::new();
        if let Some(common) = self.common {
            params.distinguished_name.push(DnType::CommonName, common);
        }
        if let Some((first, last)) = self.years {
            params.not_before = rcgen::date_time_ymd(first, 1, 1);
            params.not_after = rcgen::date_time_ymd(last, 1, 1);
        }
        if self.is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params
    }

    fn authority(name: &'static str) -> Authority {
        let params = Wanted { common: Some(name), is_ca: true, ..Wanted::default() }.params();
        Authority { params, key: KeyPair::generate().unwrap() }
    }

    /// Certificate and key in one text.
    fn signed(&self, authority: &Authority) -> String {
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&authority.params, &authority.key);
        self.params().signed_by(&key, &issuer).unwrap().pem() + &key.serialize_pem()
    }

    fn self_signed(&self) -> String {
        let key = KeyPair::generate().unwrap();
        self.params().self_signed(&key).unwrap().pem() + &key.serialize_pem()
    }
}

impl Authority {
    fn pem(&self) -> String {
        self.params.self_signed(&self.key).unwrap().pem()
    }
}

fn named(dns: &'static [&'static str]) -> Wanted {
    Wanted { dns, ..Wanted::default() }
}

impl Files {
    fn with<T>(&self, system: Option<&str>, make: impl FnOnce(Outside<'_>) -> T) -> T {
        let file = |path: &Path, _: u64| {
            let text = self.0.get(path.to_str().unwrap()).ok_or_else(|| "there is no such file".to_owned())?;
            Ok(text.clone().into_bytes())
        };
        let authorities = || {
            let pem = system.ok_or_else(|| "there are none".to_owned())?;
            Authorities::of_the_system(material::trusted(pem.as_bytes(), None).unwrap())
        };
        make(Outside { file: &file, show: &|path| path.display().to_string(), system: &authorities })
    }

    fn client(&self, tls: &DestinationTls, system: Option<&str>) -> Arc<ClientConfig> {
        self.with(system, |outside| settings::client(tls, Protocol::Http2, outside)).unwrap().config
    }

    fn server(&self, tls: &ServiceTls) -> Arc<ServerConfig> {
        self.with(None, |outside| settings::server(tls, outside)).unwrap().config
    }
}

fn key(file: &str) -> KeyFiles {
    KeyFiles { file: file.into(), private_key: None, store_password: None, key_password: None }
}

fn trust(file: &str) -> Option<TrustFile> {
    Some(TrustFile { file: file.into(), password: None })
}

fn destination(trusted: &str) -> DestinationTls {
    DestinationTls { trust: trust(trusted), ..DestinationTls::default() }
}

fn service(own: &str, allowed: &[&str]) -> ServiceTls {
    ServiceTls {
        addresses: Vec::new(),
        ports: Vec::new(),
        key: key(own),
        trust: trust("ca"),
        allowed_peer_names: allowed.iter().map(|name| (*name).to_owned()).collect(),
        offer: Offer::default(),
    }
}

/// What each side says after everything has been exchanged.
struct Shaken {
    client: Result<ClientConnection, Error>,
    server: Result<ServerConnection, Error>,
}

fn shake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>, name: &str) -> Shaken {
    let mut client = ClientConnection::new(Arc::clone(client), server_name(name).unwrap()).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    let (mut client_error, mut server_error) = (None, None);
    for _ in 0..6 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() && server_error.is_none() {
            server.read_tls(&mut rest).unwrap();
            server_error = server.process_new_packets().err();
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() && client_error.is_none() {
            client.read_tls(&mut rest).unwrap();
            client_error = client.process_new_packets().err();
        }
    }
    Shaken { client: client_error.map_or(Ok(client), Err), server: server_error.map_or(Ok(server), Err) }
}

#[track_caller]
fn refused(shaken: &Shaken) -> &CertificateError {
    match &shaken.client {
        Err(Error::InvalidCertificate(why)) => why,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the certificate is taken"),
    }
}

#[track_caller]
fn taken(shaken: Shaken) -> (ClientConnection, ServerConnection) {
    let (client, server) = (shaken.client.unwrap(), shaken.server.unwrap());
    assert!(!client.is_handshaking() && !server.is_handshaking());
    (client, server)
}

#[test]
fn a_destination_takes_what_its_authority_signed_for_the_name_and_nothing_else() {
    let ca = Wanted::authority("ca");
    let other = Wanted::authority("other");
    let files = Files(HashMap::from([
        ("ca", ca.pem()),
        ("other", other.pem()),
        ("good", named(&["a.example", "*.b.example", "10.0.0.1"]).signed(&ca)),
        ("expired", Wanted { years: Some((2020, 2021)), ..named(&["a.example"]) }.signed(&ca)),
        ("early", Wanted { years: Some((2090, 2091)), ..named(&["a.example"]) }.signed(&ca)),
        ("self", named(&["a.example"]).self_signed()),
    ]));
    let client = files.client(&destination("ca"), None);
    let with = |own: &str, name: &str| shake(&client, &files.server(&service(own, &[])), name);
    for name in ["a.example", "A.Example.", "x.b.example", "10.0.0.1"] {
        taken(with("good", name));
    }
    for name in ["b.example", "x.y.b.example", "10.0.0.2"] {
        assert!(matches!(refused(&with("good", name)), CertificateError::NotValidForNameContext { .. }), "{name}");
    }
    assert!(matches!(refused(&with("expired", "a.example")), CertificateError::ExpiredContext { .. }));
    assert!(matches!(refused(&with("early", "a.example")), CertificateError::NotValidYetContext { .. }));
    assert_eq!(refused(&with("self", "a.example")), &CertificateError::UnknownIssuer);
    let stranger = files.client(&destination("other"), None);
    assert_eq!(
        refused(&shake(&stranger, &files.server(&service("good", &[])), "a.example")),
        &CertificateError::UnknownIssuer
    );
}

#[test]
fn a_certificate_in_the_trust_store_itself_is_taken_as_java_takes_it() {
    let yes = Wanted { is_ca: true, ..named(&["a.example"]) };
    let files = Files(HashMap::from([
        ("ca", Wanted::authority("ca").pem()),
        ("authority", yes.self_signed()),
        ("plain", named(&["a.example"]).self_signed()),
        ("old", Wanted { years: Some((2020, 2021)), ..yes }.self_signed()),
    ]));
    let with =
        |own: &str, name: &str| shake(&files.client(&destination(own), None), &files.server(&service(own, &[])), name);
    taken(with("authority", "a.example"));
    taken(with("plain", "a.example"));
    assert_eq!(refused(&with("authority", "b.example")), &CertificateError::NotValidForName);
    assert!(matches!(refused(&with("plain", "b.example")), CertificateError::NotValidForNameContext { .. }));
    assert_eq!(refused(&with("old", "a.example")), &CertificateError::Expired);
    // The system's authorities are authorities and nothing else.
    let system = files.0["authority"].clone();
    let public = files.client(&DestinationTls::default(), Some(&system));
    refused(&shake(&public, &files.server(&service("authority", &[])), "a.example"));
}

#[test]
fn a_common_name_counts_for_an_own_trust_store_only() {
    let ca = Wanted::authority("ca");
    let common = Wanted { common: Some("a.example"), ..Wanted::default() };
    let files = Files(HashMap::from([
        ("ca", ca.pem()),
        ("common", common.signed(&ca)),
        ("both", Wanted { common: Some("a.example"), ..named(&["b.example"]) }.signed(&ca)),
    ]));
    let own = files.client(&destination("ca"), None);
    taken(shake(&own, &files.server(&service("common", &[])), "a.example"));
    refused(&shake(&own, &files.server(&service("common", &[])), "b.example"));
    refused(&shake(&own, &files.server(&service("both", &[])), "a.example"));
    let public = files.client(&DestinationTls::default(), Some(&ca.pem()));
    refused(&shake(&public, &files.server(&service("common", &[])), "a.example"));
    taken(shake(&public, &files.server(&service("both", &[])), "b.example"));
}

#[test]
fn only_clients_with_an_allowed_name_connect() {
    let (ca, other) = (Wanted::authority("ca"), Wanted::authority("other"));
    let files = Files(HashMap::from([
        ("ca", ca.pem()),
        ("own", named(&["a.example"]).signed(&ca)),
        ("node", named(&["node1.cluster.example"]).signed(&ca)),
        ("cluster", Wanted { common: Some("cluster one"), ..Wanted::default() }.signed(&ca)),
        ("stranger", named(&["node1.cluster.example"]).signed(&other)),
        ("old", Wanted { years: Some((2020, 2021)), ..named(&["node1.cluster.example"]) }.signed(&ca)),
    ]));
    let with = |client: Option<&str>, allowed: &[&str]| {
        let tls = DestinationTls { key: client.map(key), ..destination("ca") };
        shake(&files.client(&tls, None), &files.server(&service("own", allowed)), "a.example").server
    };
    for (client, allowed) in
        [("node", &["node1.cluster.example"][..]), ("node", &["x", "*.cluster.example"]), ("cluster", &["cluster one"])]
    {
        assert!(with(Some(client), allowed).is_ok_and(|server| !server.is_handshaking()), "{client} {allowed:?}");
    }
    let why = |client: Option<&str>, allowed: &[&str]| with(client, allowed).err().unwrap().to_string();
    assert!(why(Some("node"), &["node2.cluster.example"]).contains("is for none of `allowed-peer-names`"));
    assert!(why(Some("cluster"), &["cluster"]).contains("CN=cluster one"));
    assert!(why(None, &["node1.cluster.example"]).contains("no certificates"));
    assert!(why(Some("stranger"), &["node1.cluster.example"]).contains("UnknownIssuer"));
    assert!(why(Some("old"), &["node1.cluster.example"]).contains("expired"));
    // Without names nobody is asked.
    assert!(with(None, &[]).is_ok_and(|server| !server.is_handshaking()));
}

#[test]
fn exactly_the_protocol_is_asked_for_and_early_data_never() {
    let ca = Wanted::authority("ca");
    let files = Files(HashMap::from([("ca", ca.pem()), ("own", named(&["a.example"]).signed(&ca))]));
    for (protocol, name) in [(Protocol::Http1, b"http/1.1".as_slice()), (Protocol::Http2, b"h2")] {
        let built = files.with(None, |outside| settings::client(&destination("ca"), protocol, outside)).unwrap();
        assert_eq!(built.config.alpn_protocols, [name]);
        assert!(!built.config.enable_early_data);
        let mut server = (*files.server(&service("own", &[]))).clone();
        server.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
        let (client, _) = taken(shake(&built.config, &Arc::new(server), "a.example"));
        assert_eq!(client.alpn_protocol(), Some(name));
    }
}

#[test]
fn versions_and_suites_are_those_of_the_file_in_its_order() {
    let ca = Wanted::authority("ca");
    let files = Files(HashMap::from([("ca", ca.pem()), ("own", named(&["a.example"]).signed(&ca))]));
    let offer = |tls12, tls13, ciphers: &[&str]| Offer {
        tls12,
        tls13,
        ciphers: ciphers.iter().map(|name| (*name).to_owned()).collect(),
    };
    let with = |client: Offer, server: Offer| {
        let client = files.client(&DestinationTls { offer: client, ..destination("ca") }, None);
        shake(&client, &files.server(&ServiceTls { offer: server, ..service("own", &[]) }), "a.example")
    };
    let all = || offer(true, true, &[]);
    let version = |shaken: Shaken| taken(shaken).0.protocol_version().unwrap();
    assert_eq!(version(with(all(), all())), rustls::ProtocolVersion::TLSv1_3);
    assert_eq!(version(with(all(), offer(true, false, &[]))), rustls::ProtocolVersion::TLSv1_2);
    assert_eq!(version(with(offer(true, false, &[]), all())), rustls::ProtocolVersion::TLSv1_2);
    assert!(with(offer(true, false, &[]), offer(false, true, &[])).server.is_err());
    for name in ["TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"] {
        let (client, _) = taken(with(offer(true, true, &[name, "TLS_AES_256_GCM_SHA384"]), all()));
        let suite = client.negotiated_cipher_suite().unwrap();
        assert_eq!(ringpost::tls::names::suite_name(&suite), name);
    }
}

#[test]
fn every_connection_of_a_node_is_a_whole_handshake_and_a_destination_resumes() {
    let ca = Wanted::authority("ca");
    let files = Files(HashMap::from([("ca", ca.pem()), ("own", named(&["a.example"]).signed(&ca))]));
    let client = files.client(&destination("ca"), None);
    let ours = files.server(&service("own", &[]));
    let mut theirs = (*ours).clone();
    theirs.session_storage = rustls::server::ServerSessionMemoryCache::new(8);
    theirs.send_tls13_tickets = 2;
    for (server, second) in [(ours, HandshakeKind::Full), (Arc::new(theirs), HandshakeKind::Resumed)] {
        taken(shake(&client, &server, "a.example"));
        let (_, server) = taken(shake(&client, &server, "a.example"));
        assert_eq!(server.handshake_kind(), Some(second));
    }
}

#[test]
fn handles_give_new_connections_the_new_settings() {
    let (ca, other) = (Wanted::authority("ca"), Wanted::authority("other"));
    let own = named(&["a.example"]);
    let files = Files(HashMap::from([
        ("ca", ca.pem()),
        ("other", other.pem()),
        ("first", own.signed(&ca)),
        ("second", Wanted { years: Some((2020, 2090)), ..own }.signed(&other)),
    ]));
    let first = files.with(None, |outside| settings::server(&service("first", &[]), outside)).unwrap();
    let second = files.with(None, |outside| settings::server(&service("second", &[]), outside)).unwrap();
    let server = ServerTls::new("service.tls".to_owned(), first.config.clone(), first.expiry());
    let client = ClientTls::new("a".to_owned(), None, files.client(&destination("ca"), None), None);
    let (mut open, mut open_server) = taken(shake(&client.config(), &server.config(), "a.example"));
    server.replace(second.config.clone(), second.expiry());
    assert_eq!(refused(&shake(&client.config(), &server.config(), "a.example")), &CertificateError::UnknownIssuer);
    client.replace(files.client(&destination("other"), None), None);
    taken(shake(&client.config(), &server.config(), "a.example"));
    assert_eq!(server.expiry().unwrap().days_left(3_786_912_000 - 86_400), 1, "2090-01-01");
    // The connection that was open goes on.
    use std::io::{Read, Write};
    open.writer().write_all(b"hello").unwrap();
    let mut wire = Vec::new();
    open.write_tls(&mut wire).unwrap();
    open_server.read_tls(&mut wire.as_slice()).unwrap();
    open_server.process_new_packets().unwrap();
    let mut read = [0; 5];
    open_server.reader().read_exact(&mut read).unwrap();
    assert_eq!(&read, b"hello");
}

#[test]
fn the_name_of_the_certificate_can_be_another_one_than_the_hosts() {
    let config = {
        let ca = Wanted::authority("ca");
        Files(HashMap::from([("ca", ca.pem())])).client(&destination("ca"), None)
    };
    let plain = ClientTls::new("a".to_owned(), None, Arc::clone(&config), None);
    assert_eq!(plain.server_name("H.example.").unwrap().to_str(), "h.example");
    assert_eq!(plain.server_name("::1").unwrap().to_str(), "::1");
    let other = ClientTls::new("a".to_owned(), Some(server_name("b.example").unwrap()), config, None);
    assert_eq!(other.server_name("10.0.0.1").unwrap().to_str(), "b.example");
}
