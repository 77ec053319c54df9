//! The sink against hyper, a client that is neither ours nor the connector's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly, its helpers too"
)]

mod load_support;

use std::process::Command;
use std::time::{Duration, Instant};

use load_support::client::{BOTH, Sender, Version, connect, identity};
use ringpost_load::sink::{Behaviour, Fault, Goodbye, Sink, SinkConfig, SinkHandle};
use tokio::net::TcpStream;

fn sink(behaviour: Behaviour) -> SinkHandle {
    Sink::spawn(SinkConfig { behaviour, log_requests: 3, verify_every: 1, ..SinkConfig::default() }).unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn both_protocols_are_answered_logged_and_entered() {
    for version in BOTH {
        let sink = sink(Behaviour { status: 202, body_bytes: 5, ..Behaviour::default() });
        block_on(async {
            let mut sender = connect(sink.addr(), version).await.unwrap();
            for sequence in [0, 1, 2, 2, 70_000] {
                let body = format!("{{\"seq\":{sequence}}}");
                let answer = sender.post(sequence, body.as_bytes()).await;
                assert_eq!(answer, Some((202, b"xxxxx".to_vec())), "{version:?}");
            }
            sender.post(9, b"{\"seq\":8}").await.unwrap();
        });
        let report = sink.join().unwrap();
        let stats = &report.stats;
        assert_eq!((stats.requests, stats.delivered, stats.duplicates), (6, 5, 1), "{version:?}");
        assert_eq!((stats.corrupt, stats.unidentified, stats.connections), (1, 0, 1), "{version:?}");
        assert_eq!(report.ledger.entry(identity(2)).succeeded, 2);
        assert_eq!(report.ledger.entry(identity(3)).received, 0);
        assert_eq!(report.requests.len(), 3);
        let first = &report.requests[0];
        assert_eq!((first.method.as_str(), first.path.as_str()), ("POST", "/in?a=b"));
        assert_eq!(first.header("host"), Some("sink.test"), "{version:?}");
        assert_eq!(first.header("content-type"), Some("application/json"));
        assert_eq!(first.body, b"{\"seq\":0}");
    }
}

#[test]
fn faults_give_no_answer_and_no_success() {
    let faults = [
        Fault::CloseBeforeAnswer,
        Fault::CloseAfterHead,
        Fault::CloseMidBody,
        Fault::Reset,
        Fault::Refuse,
        Fault::Hang,
    ];
    for version in BOTH {
        for fault in faults {
            let sink = sink(Behaviour::fault(fault));
            block_on(async {
                let mut sender = connect(sink.addr(), version).await.unwrap();
                assert_eq!(sender.post(0, b"{}").await, None, "{version:?} {fault:?}");
                sink.set_behaviour(Behaviour::default());
                let mut sender = connect(sink.addr(), version).await.unwrap();
                assert_eq!(sender.post(1, b"{}").await, Some((200, vec![])), "{version:?} {fault:?}");
            });
            let stats = sink.join().unwrap().stats;
            assert_eq!((stats.requests, stats.delivered, stats.by_status[&0]), (2, 1, 1), "{version:?} {fault:?}");
        }
    }
}

#[test]
fn errors_are_no_deliveries_and_pauses_are_kept() {
    for version in BOTH {
        let pause = Duration::from_millis(60);
        let sink = sink(Behaviour { status: 503, ..Behaviour::latency(pause, pause) });
        block_on(async {
            let mut sender = connect(sink.addr(), version).await.unwrap();
            let start = Instant::now();
            assert_eq!(sender.post(0, b"{}").await.unwrap().0, 503);
            assert!(start.elapsed() >= pause, "{version:?}");
        });
        assert_eq!(sink.join().unwrap().stats.delivered, 0);
    }
}

#[test]
fn a_connection_ends_after_its_number_of_requests() {
    for version in BOTH {
        for goodbye in [Goodbye::Announced, Goodbye::Abrupt] {
            let sink = sink(Behaviour { requests_per_connection: Some(3), goodbye, ..Behaviour::default() });
            block_on(async {
                let mut sender = connect(sink.addr(), version).await.unwrap();
                let mut answers = 0;
                for sequence in 0..6 {
                    answers += u32::from(sender.post(sequence, b"{}").await.is_some());
                    // Lets the client see the end.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                // HTTP/2's abrupt end takes the third answer with it.
                let expected = if (version, goodbye) == (Version::Http2, Goodbye::Abrupt) { 2..=3 } else { 3..=3 };
                assert!(expected.contains(&answers), "{version:?} {goodbye:?}: {answers}");
            });
            let delivered = sink.join().unwrap().stats.delivered;
            assert!((2..=3).contains(&delivered), "{version:?} {goodbye:?}: {delivered}");
        }
    }
}

#[test]
fn a_sink_goes_down_and_comes_back_on_its_port() {
    for version in BOTH {
        let sink = sink(Behaviour::default());
        block_on(async {
            let mut sender = connect(sink.addr(), version).await.unwrap();
            sender.post(0, b"{}").await.unwrap();
            sink.down().unwrap();
            assert_eq!(sender.post(1, b"{}").await, None, "{version:?}");
            assert!(TcpStream::connect(sink.addr()).await.is_err(), "{version:?}");
            sink.up().unwrap();
            let mut sender = connect(sink.addr(), version).await.unwrap();
            assert!(sender.post(1, b"{}").await.is_some(), "{version:?}");
        });
        assert_eq!(sink.join().unwrap().stats.delivered, 2);
    }
}

#[test]
fn a_slow_reader_takes_its_time() {
    for version in BOTH {
        let sink = sink(Behaviour { slow_read: Duration::from_millis(10), ..Behaviour::default() });
        block_on(async {
            let mut sender = connect(sink.addr(), version).await.unwrap();
            let start = Instant::now();
            assert!(sender.post(0, &[b'x'; 200_000]).await.is_some(), "{version:?}");
            assert!(start.elapsed() >= Duration::from_millis(60), "{version:?}: {:?}", start.elapsed());
        });
        assert_eq!(sink.join().unwrap().stats.body_bytes, 200_000);
    }
}

#[test]
fn requests_on_several_streams_are_answered_out_of_order() {
    let sink = sink(Behaviour::latency(Duration::ZERO, Duration::from_millis(80)));
    let order = block_on(async {
        let Some(Sender::Http2(sender)) = connect(sink.addr(), Version::Http2).await else { panic!("no connection") };
        let (done, mut results) = tokio::sync::mpsc::unbounded_channel();
        for sequence in 0..40 {
            let (mut sender, done) = (Sender::Http2(sender.clone()), done.clone());
            tokio::spawn(async move { done.send((sequence, sender.post(sequence, b"{}").await.is_some())) });
        }
        let mut order = Vec::new();
        for _ in 0..40 {
            let (sequence, answered) = results.recv().await.unwrap();
            assert!(answered);
            order.push(sequence);
        }
        order
    });
    assert!(!order.is_sorted(), "{order:?}");
    assert_eq!(sink.join().unwrap().stats.delivered, 40);
}

/// A third client, where it is installed.
#[test]
fn curl_is_answered_on_both_protocols() {
    let sink = sink(Behaviour::status(204));
    let url = format!("http://{}/x", sink.addr());
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let arguments = ["-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "5", version, "-d", "{}", &url];
        match Command::new("curl").args(arguments).output() {
            Ok(output) => assert_eq!(String::from_utf8_lossy(&output.stdout), "204", "{version}"),
            Err(error) => return eprintln!("curl: {error}; not checked"),
        }
    }
    assert_eq!(sink.join().unwrap().stats.unidentified, 2);
}
