//! A destination that writes down which versions it saw, and when: HTTP/1.1 and HTTP/2 by prior knowledge, JSON bodies,
//! one record or an array of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{Event, Log, Version};
use crate::clock::mix;
use crate::record::{DIGEST_LEN, Identity};

/// Requests are numbered over all sinks of the process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// How a sink of versions answers.
#[derive(Debug, Clone)]
pub struct VersionSinkConfig {
    /// Where to listen; port 0: any free one.
    pub address: SocketAddr,
    /// Its number in the log.
    pub number: usize,
    /// Shortest and longest pause before an answer.
    pub latency: (Duration, Duration),
    /// Percent of the requests that are answered 500.
    pub errors: u64,
    /// Of pauses and errors.
    pub seed: u64,
}

/// A running sink of versions. Dropping it stops it.
#[derive(Debug)]
pub struct VersionSink {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl VersionSink {
    /// Listens.
    ///
    /// # Errors
    /// When the address is in use, or there is no thread.
    pub fn spawn(config: VersionSinkConfig, log: &Arc<Log>) -> std::io::Result<VersionSink> {
        let listener = std::net::TcpListener::bind(config.address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let shared = Arc::new(Shared { config, log: Arc::clone(log) });
        let body = move || runtime.block_on(accept(listener, shared, stopped));
        let thread = std::thread::Builder::new().name(String::from("version-sink")).spawn(body)?;
        Ok(VersionSink { address, stop, thread: Some(thread) })
    }

    /// Where it listens, with the real port.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for VersionSink {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Shared {
    config: VersionSinkConfig,
    log: Arc<Log>,
}

impl Shared {
    /// Enters a request, waits, enters its answer: the status.
    async fn answer(&self, body: &[u8]) -> u16 {
        let sink = self.config.number;
        let request = NEXT.fetch_add(1, Ordering::Relaxed);
        let Some(versions) = versions(body) else { return 400 };
        self.log.add(Event::Arrived { sink, request, versions });
        let random = mix(self.config.seed ^ mix(request));
        let (shortest, longest) = self.config.latency;
        let spread = longest.saturating_sub(shortest);
        tokio::time::sleep(shortest + spread.mul_f64((random >> 32) as f64 / f64::from(u32::MAX))).await;
        let status = if mix(random) % 100 < self.config.errors { 500 } else { 200 };
        self.log.add(Event::Answered { sink, request, status });
        status
    }
}

/// The versions of a body of one JSON object, or of an array of them.
fn versions(body: &[u8]) -> Option<Vec<Version>> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    match value.as_array() {
        Some(all) => all.iter().map(version).collect(),
        None => Some(vec![version(&value)?]),
    }
}

fn version(value: &serde_json::Value) -> Option<Version> {
    let metadata = value.get("metadata")?;
    let digest = base64_simd::STANDARD.decode_to_vec(metadata.get("digest")?.as_str()?).ok()?;
    let digest: [u8; DIGEST_LEN] = digest.try_into().ok()?;
    let key = Identity::from_digest(&digest)?.sequence;
    Some(Version { key, lut: metadata.get("lut")?.as_u64()? })
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                // Without it answers are late, no more.
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut start = [0; 3];
    while !matches!(stream.peek(&mut start).await, Ok(3..)) {
        if matches!(stream.peek(&mut start).await, Ok(0) | Err(_)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    if &start == b"PRI" { http2(stream, shared).await } else { http1(stream, shared).await.unwrap_or_default() }
}

async fn http2(stream: TcpStream, shared: Arc<Shared>) {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(1024).max_concurrent_reset_streams(1 << 16);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let mut body = request.into_body();
            let mut whole = Vec::new();
            while let Some(part) = body.data().await {
                let Ok(part) = part else { return };
                // The window is that of the connection, which has failed if this does.
                let _ = body.flow_control().release_capacity(part.len());
                whole.extend_from_slice(&part);
            }
            let status = shared.answer(&whole).await;
            let response = http::Response::builder().status(status).body(()).unwrap_or_default();
            // The connector may have given the request up.
            let _ = respond.send_response(response, true);
        });
    }
}

async fn http1(mut stream: TcpStream, shared: Arc<Shared>) -> Option<()> {
    let mut bytes = Vec::new();
    loop {
        let (head, length) = loop {
            let mut headers = [httparse::EMPTY_HEADER; 32];
            let mut request = httparse::Request::new(&mut headers);
            if let Ok(httparse::Status::Complete(head)) = request.parse(&bytes) {
                let header =
                    request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"))?;
                break (head, std::str::from_utf8(header.value).ok()?.parse::<usize>().ok()?);
            }
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        };
        while bytes.len() < head + length {
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
        let status = shared.answer(bytes.get(head..head + length)?).await;
        bytes.drain(..head + length);
        let reason = if status == 200 { "OK" } else { "Error" };
        let response = format!("HTTP/1.1 {status} {reason}\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(response.as_bytes()).await.ok()?;
    }
}
