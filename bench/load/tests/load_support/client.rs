//! A client of either protocol: hyper, which is neither ours nor the connector's.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use ringpost_load::record::Identity;
use tokio::net::TcpStream;

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Version {
    Http1,
    Http2,
}

pub enum Sender {
    Http1(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Http2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

pub const BOTH: [Version; 2] = [Version::Http1, Version::Http2];

pub fn identity(sequence: u64) -> Identity {
    Identity { sequence, run: 1 }
}

pub fn digest(sequence: u64) -> String {
    base64_simd::STANDARD.encode_to_string(identity(sequence).digest())
}

pub async fn connect(address: SocketAddr, version: Version) -> Option<Sender> {
    let io = TokioIo::new(TcpStream::connect(address).await.ok()?);
    match version {
        Version::Http1 => {
            let (sender, connection) = hyper::client::conn::http1::handshake(io).await.ok()?;
            tokio::spawn(connection);
            Some(Sender::Http1(sender))
        }
        Version::Http2 => {
            let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.ok()?;
            tokio::spawn(connection);
            Some(Sender::Http2(sender))
        }
    }
}

impl Sender {
    /// One record with its digest.
    pub async fn post(&mut self, sequence: u64, body: &[u8]) -> Option<(u16, Vec<u8>)> {
        let lines = [("content-type", "application/json"), ("aerospike-digest", &digest(sequence))];
        self.send(&lines, body).await
    }

    /// Status and body, or `None` without a whole answer within two seconds.
    pub async fn send(&mut self, lines: &[(&str, &str)], body: &[u8]) -> Option<(u16, Vec<u8>)> {
        // hyper writes the target of HTTP/1.1 as it is given.
        let target = if matches!(self, Sender::Http1(_)) { "/in?a=b" } else { "http://sink.test/in?a=b" };
        let mut request = Request::post(target).header("host", "sink.test");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body))).unwrap();
        let exchange = async {
            let response = match self {
                Sender::Http1(sender) => {
                    sender.ready().await.ok()?;
                    sender.send_request(request).await.ok()?
                }
                Sender::Http2(sender) => {
                    sender.ready().await.ok()?;
                    sender.send_request(request).await.ok()?
                }
            };
            let status = response.status().as_u16();
            Some((status, response.into_body().collect().await.ok()?.to_bytes().to_vec()))
        };
        tokio::time::timeout(Duration::from_secs(2), exchange).await.ok().flatten()
    }
}
