//! The client against servers of a few lines, good ones and bad ones.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use rcgen::{CertificateParams, KeyPair};

use super::*;

/// Answers one connection with these bytes, a part at a time, when its request is there, and hands the request on. It
/// stays open until the client goes.
fn server(parts: Vec<Vec<u8>>) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        send.send(request(&mut stream)).unwrap();
        for part in parts {
            let _ = stream.write_all(&part);
        }
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    (address, receive)
}

fn request(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        text.extend_from_slice(&byte);
    }
    String::from_utf8(text).unwrap()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().unwrap();
    runtime.block_on(future)
}

fn client(address: SocketAddr) -> Client {
    Client::new(&format!("http://{address}"), None, None).unwrap()
}

async fn whole(client: &Client, most: usize) -> Result<(u16, Vec<u8>), ClientError> {
    let answer = client.get("/status").await?;
    Ok((answer.status, answer.whole(most).await?))
}

#[test]
fn a_request_says_who_asks_and_for_what() {
    let (address, requests) = server(vec![b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 3\r\n\r\nno\n".to_vec()]);
    let token = Secret("0123456789abcdef".to_owned());
    let client = Client::new(&format!("http://{address}/east/manage/rest/v1/status/"), Some(&token), None).unwrap();
    assert_eq!(client.url(), format!("http://{address}/east"));
    assert_eq!(run(whole(&client, 3)), Ok((401, b"no\n".to_vec())));
    let request = requests.recv().unwrap().to_ascii_lowercase();
    assert!(request.starts_with("get /east/manage/rest/v1/status http/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("\r\nhost: {address}\r\n")), "{request}");
    assert!(request.contains("\r\nauthorization: bearer 0123456789abcdef\r\n"), "{request}");
    assert!(!format!("{client:?}").contains("0123456789abcdef"));
}

#[test]
fn a_body_comes_piece_by_piece() {
    let chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n".to_vec();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (go_on, wait) = channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        request(&mut stream);
        stream.write_all(&chunks).unwrap();
        wait.recv().unwrap();
        stream.write_all(b"3\r\ncde\r\n0\r\n\r\n").unwrap();
    });
    run(async {
        let mut answer = client(address).get("/tap").await.unwrap();
        assert_eq!(answer.piece().await.unwrap().unwrap(), "ab", "before there is more");
        let none = timeout(Duration::from_millis(20), answer.piece()).await;
        assert!(none.is_err(), "{none:?}");
        go_on.send(()).unwrap();
        assert_eq!(answer.piece().await.unwrap().unwrap(), "cde");
        assert_eq!(answer.piece().await, Ok(None));
    });
}

#[test]
fn what_is_wrong_with_an_answer_is_said_and_bounded() {
    let head = |more: &str| format!("HTTP/1.1 200 OK\r\n{more}\r\n").into_bytes();
    let ask = |parts: Vec<Vec<u8>>| {
        let (address, _requests) = server(parts);
        let error = run(whole(&client(address), 10)).unwrap_err();
        (error.to_string().replace(&address.to_string(), "HOST"), error)
    };
    let (text, _) = ask(vec![head("Content-Length: 11\r\n"), b"12345678901".to_vec()]);
    assert_eq!(text, "http://HOST sent more than 10 bytes");
    let (text, _) = ask(vec![head("Transfer-Encoding: chunked\r\n"), b"b\r\n12345678901\r\n".to_vec()]);
    assert_eq!(text, "http://HOST sent more than 10 bytes");
    for parts in [
        vec![head("Content-Length: 9\r\n"), b"1234".to_vec()],
        vec![b"220 mail.example ESMTP\r\n".to_vec()],
        vec![b"HTTP/1.1 200 OK\r\n".to_vec()],
        vec![],
        vec![head(&format!("x: {}\r\n", "y".repeat(HEAD_BYTES)))],
    ] {
        let (text, error) = ask(parts);
        assert!(matches!(error, ClientError::Broken { .. }), "{text}");
        assert!(text.starts_with("http://HOST gave no complete answer: "), "{text}");
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = run(client(free).get("/status")).unwrap_err();
    assert!(error.to_string().starts_with(&format!("http://{free} cannot be reached: Connection refused")), "{error}");
}

#[test]
fn one_who_says_nothing_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let (stalled, _requests) = server(vec![b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()]);
    run(async {
        let (silent, stalled) = (client(address), client(stalled));
        let nothing = async { silent.get("/status").await.unwrap_err() };
        let half = async {
            let answer = stalled.get("/status").await.unwrap();
            // Open, and without an end: the other side waits for us.
            answer.whole(10).await.unwrap_err()
        };
        let (nothing, half) = tokio::join!(nothing, half);
        assert_eq!(nothing, ClientError::TimedOut { url: format!("http://{address}") });
        assert!(matches!(half, ClientError::Broken { .. } | ClientError::TimedOut { .. }), "{half}");
    });
}

#[test]
fn https_needs_a_certificate_of_who_is_trusted() {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let file = std::env::temp_dir().join(format!("ringpost-manage-client-{}.pem", std::process::id()));
    std::fs::write(&file, certificate.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let private = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    run(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                let _ = stream.shutdown().await;
            }
        });
        let url = format!("https://{address}");
        let trusted = Client::new(&url, None, Some(&file)).unwrap();
        assert_eq!(whole(&trusted, 9).await, Ok((200, b"ok".to_vec())));
        let other = Client::new(&format!("https://localhost:{}", address.port()), None, Some(&file)).unwrap();
        assert_eq!(whole(&other, 9).await, Ok((200, b"ok".to_vec())));
        let Ok(system) = Client::new(&url, None, None) else { return };
        let error = whole(&system, 9).await.unwrap_err();
        assert!(error.to_string().contains("cannot be reached: TLS: invalid peer certificate"), "{error}");
    });
    let _ = std::fs::remove_file(&file);
}

#[test]
fn a_url_that_cannot_be_asked_is_refused() {
    for (url, part) in [
        ("127.0.0.1:8902", "no scheme"),
        ("ftp://h", "neither http nor https"),
        ("http://me:secret@h", "user name or password"),
        ("http://h/?a=b", "query"),
        ("http://", "no host"),
    ] {
        let why = Client::new(url, None, None).unwrap_err();
        assert!(why.contains(part) && !why.contains("secret@"), "{url}: {why}");
    }
    let missing = Client::new("https://h", None, Some(Path::new("/nowhere/ca.pem"))).unwrap_err();
    assert!(missing.contains("/nowhere/ca.pem") && missing.contains("no such file"), "{missing}");
}
