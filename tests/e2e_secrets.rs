//! Secrets are planted wherever a configuration, a request or a destination can have one; none is in any answer of the manage
//! port, in the log at its most talkative, or in what `check` prints.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::net::SocketAddr;
use std::process::Command;

use ringpost_load::sink::Behaviour;
use support::manage::{BASE, ask, ask_raw, with_manage};
use support::tls::{authority, file, pair};
use support::*;

const TOKEN: &str = "secret-token-0123456789";
const GUESS: &str = "secret-guess-0123456789";

/// Whatever is to be seen nowhere.
const SECRETS: [&str; 7] = [
    TOKEN,
    GUESS,
    "secret-in-query",
    "secret-in-header",
    "secret-in-file",
    "secret-in-environment",
    "secret-store-password",
];

#[track_caller]
fn clean(what: &str, text: &str) {
    for secret in SECRETS {
        // The base64 of what stands behind a colon, as HTTP Basic has it, is caught by its owner's own text.
        assert!(!text.contains(secret), "{what} shows {secret}: {text}");
    }
    assert!(!text.contains("PRIVATE KEY"), "{what}: {text}");
}

/// Two destinations with a secret in each place that has one: of the first one's URLs one fails and one does not listen; the second
/// is only probed, or nothing would be sent while it is down.
fn planted(sink: SocketAddr) -> (Settings, SocketAddr) {
    let (dir, own) = (folder(), pair(&authority()));
    let token = file(&dir, "token", TOKEN);
    let header = file(&dir, "header", "secret-in-file\n");
    let (certificate, key) = (file(&dir, "own.pem", &own.certificate), file(&dir, "own-key.pem", &own.key));
    let password = file(&dir, "password", "secret-store-password\n");
    let dead = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let settings = Settings::to("HTTP_1_1", &[sink, dead]).level("trace");
    let (mut settings, manage) = with_manage(settings, &format!(", token-file: {}", token.display()));
    settings.destinations[0].urls =
        vec![format!("http://{sink}/records?code=secret-in-query"), format!("http://{dead}/r?sig=secret-in-query")];
    let settings = settings.set(&format!(
        "headers: {{ x-fixed: secret-in-header, authorization: 'Bearer secret-in-header', x-file: {{ source: file, path: {} }}, \
         x-env: {{ source: env, name: RINGPOST_TEST_SECRET }} }}",
        header.display()
    ));
    let mut settings = settings.and("HTTP_1_1", &[dead]);
    settings.destinations[1].urls = vec![format!("https://localhost:{}/x?code=secret-in-query", dead.port())];
    settings.routing = Some("{ mode: static-multi-destination, destinations: [ d0 ] }".to_owned());
    let settings = settings.set(&format!(
        "tls: {{ certificate-file: {}, private-key-file: {}, key-password-file: {} }}",
        certificate.display(),
        key.display(),
        password.display()
    ));
    (settings, manage)
}

#[test]
fn no_secret_is_in_any_answer_or_log_line() {
    let sink = sink(Behaviour { status: 500, ..Behaviour::default() });
    let (settings, manage) = planted(sink.addr());
    let mut connector = settings.spawn(|command| _ = command.env("RINGPOST_TEST_SECRET", "secret-in-environment"));
    connector.wait_listening();
    let tap = std::thread::spawn(move || ask(manage, &format!("{BASE}/tap?limit=3&seconds=15"), "").body);
    for sequence in (0..).take_while(|sequence| *sequence < 30 || !tap.is_finished()) {
        assert_eq!(one_record(connector.addr(), sequence), 11);
    }
    let tapped = tap.join().unwrap();
    assert!(tapped.contains("/records") && tapped.contains("x-env"), "a request was shown: {tapped}");
    clean("the tap", &tapped);
    let basic = "Authorization: Basic b3BlcmF0b3I6c2VjcmV0LWd1ZXNzLTAxMjM0NTY3ODk=\r\n";
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let headers = ["", &bearer(TOKEN), &bearer(GUESS), basic];
    let paths = "prometheus metrics health ready?destinations=1 version config status logging nothing";
    let mut seen = 0;
    for path in paths.split(' ') {
        for header in headers {
            let answer = ask(manage, &format!("{BASE}/{path}"), header);
            clean(path, &format!("{}\n{}", answer.head, answer.body));
            seen += usize::from(answer.status == 200 && answer.body.contains("/records"));
        }
    }
    assert!(seen > 0, "pages that name URLs were among them");
    clean("the page", &ask(manage, "/", "").body);
    let body = format!("{{\"{GUESS}\":1}}");
    let odd = format!(
        "PUT {BASE}/logging?{GUESS} HTTP/1.1\r\nHost: {manage}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(ask_raw(manage, &odd).status, 400);
    connector.stop();
    let log = connector.log();
    assert!(log.contains("/records") && log.contains("DEBUG"), "the log was talkative: {log}");
    clean("the log", &log);
    clean("standard error", &connector.errors());
    assert!(sink.ledger().stats().requests > 0, "they were sent");
}

#[test]
fn check_and_its_faults_show_no_secret() {
    let dir = folder();
    file(&dir, "token", TOKEN);
    let yaml = |urls: &str| {
        format!(
            "service:\n  port: 8901\n  manage: {{ port: 8902, token-file: token }}\ndestinations:\n  d:\n    urls: {urls}\n    \
             headers: {{ x-fixed: secret-in-header }}\nformat: json\nrouting: {{ mode: static-multi-destination, destinations: [ d ] }}\n"
        )
    };
    for (urls, code) in [
        ("[ 'http://127.0.0.1:1/r?code=secret-in-query' ]", 0),
        ("[ 'http://operator:secret-in-query@127.0.0.1:1/r' ]", 2),
        ("[ 'http://127.0.0.1:1/r?code=secret-in-query', 'http://127.0.0.1:1/r?code=secret-in-query#x' ]", 2),
    ] {
        let path = file(&dir, "c.yml", &yaml(urls));
        let output = Command::new(env!("CARGO_BIN_EXE_ringpost")).arg("check").arg("-f").arg(&path).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{text}");
        clean("check", &text);
    }
}
