//! Faults with an edge: a connection that ends at each byte of a request, an answer, a frame and an ack; changed bytes;
//! peers that read no acks; storms of connections; no descriptors left.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

mod support;

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

use ringpost_load::proxy::{Corrupt, Ending, Faults, Link, ProxyHandle};
use ringpost_load::record::RecordSpec;
use ringpost_load::sink::{Behaviour, SinkHandle};
use ringpost_load::source::SourceConfig;
use support::neighbour::Beside;
use support::network::{cut, down, ms, proxy, up};
use support::oracle::Bounds;
use support::*;

/// One record of its own, sent again until it is taken.
fn one(run: u32, to: SocketAddr) -> SourceConfig {
    let records_spec = RecordSpec { run, ..RecordSpec::default() };
    SourceConfig { records_spec, lap: ms(10), ..source(to, 1, 1) }
}

/// Which offsets of `length` bytes are tried: all, or some that are spread evenly, the ends among them.
fn offsets(length: u64) -> Vec<u64> {
    let count = by_length(24.min(length), length);
    (0..=count).map(|step| step * length / count.max(1)).collect()
}

/// Ends the connection at each offset of what one record makes pass through `proxy`, in both directions.
fn sweep(what: &str, beside: &mut Beside, proxy: &ProxyHandle, sink: &SinkHandle, to: SocketAddr) {
    let before = proxy.stats();
    let first = oracle::watched(one(1, to), &[sink]).finish(&[sink]);
    let passed = proxy.stats();
    let lengths = [passed.bytes_up - before.bytes_up, passed.bytes_down - before.bytes_down];
    let faults: [fn(Link) -> Faults; 2] = [up, down];
    let (mut run, mut duplicates, mut reports) = (1, 0, vec![first]);
    for (length, fault) in lengths.into_iter().zip(faults) {
        assert!(length > 0, "{what}: nothing passed");
        for offset in offsets(length) {
            run += 1;
            let ending = if run % 2 == 0 { Ending::Close } else { Ending::Reset };
            // Only a new connection begins at offset 0.
            proxy.kill_connections(Ending::Close);
            let cuts = proxy.stats().cuts;
            proxy.set(fault(cut(offset, ending))).unwrap();
            let record = oracle::watched(one(run, to), &[sink]);
            let met = || proxy.stats().cuts > cuts || record.is_finished();
            wait_until(&format!("{what}, offset {offset} of {length}: cut or done"), LONG, met);
            proxy.heal().unwrap();
            let report = record.finish(&[sink]);
            let again = sink.ledger().stats().duplicates - duplicates;
            duplicates += again;
            assert!(again < u64::from(report.ledger.entries[0].sent), "{what}, {offset}: {again} duplicates");
            reports.push(report);
        }
    }
    eprintln!("{what}: {lengths:?} bytes, {} records, {duplicates} duplicates", run);
    beside.check(what, &reports.iter().collect::<Vec<_>>(), &[sink]);
}

#[test]
fn any_byte_of_a_request_or_of_its_answer_may_be_the_last() {
    for protocol in PROTOCOLS {
        let sink = sink(Behaviour { body_bytes: 40, ..Behaviour::default() });
        let proxy = proxy(sink.addr());
        let settings = Settings::to(protocol, &[proxy.addr()]).set("call-timeout: 500");
        let mut beside = Beside::start(settings, protocol);
        let to = beside.connector.addr();
        sweep(protocol, &mut beside, &proxy, &sink, to);
    }
}

#[test]
fn any_byte_of_a_frame_or_of_its_ack_may_be_the_last() {
    let sink = sink(Behaviour::default());
    let mut beside = Beside::start(Settings::to("HTTP_2", &[sink.addr()]), "HTTP_2");
    let proxy = proxy(beside.connector.addr());
    sweep("XDR", &mut beside, &proxy, &sink, proxy.addr());
}

/// Only where a change has to be noticed: nothing in HTTP says that a body or a path is not the one that was sent.
#[test]
fn changed_bytes_of_heads_and_frames_are_noticed() {
    let broken = |offsets: std::ops::Range<u64>| Link {
        corrupt: Some(Corrupt { offsets, probability: 1.0 }),
        ..Link::default()
    };
    // The status line; the first frame's header.
    for (protocol, offsets) in [("HTTP_1_1", 0..12), ("HTTP_2", 0..9)] {
        let sink = sink(Behaviour::default());
        let proxy = proxy(sink.addr());
        let settings = Settings::to(protocol, &[proxy.addr()]).set("call-timeout: 500");
        let mut beside = Beside::start(settings, protocol);
        proxy.set(down(broken(offsets))).unwrap();
        let run = oracle::watched(SourceConfig { window: 16, ..source(beside.connector.addr(), 2, 500) }, &[&sink]);
        wait_until("the fault shows", LONG, || run.stats().temporary > 20);
        assert_eq!(run.stats().acked, 0, "{protocol}: no success is read out of rubbish");
        proxy.heal().unwrap();
        proxy.kill_connections(Ending::Reset);
        let report = run.finish(&[&sink]);
        beside.check(&format!("{protocol}, changed bytes"), &[&report], &[&sink]);
    }
    // Version and type of a frame: the connection is closed, and the record comes on the next one.
    let sink = sink(Behaviour::default());
    let mut beside = Beside::start(Settings::to("HTTP_2", &[sink.addr()]), "HTTP_2");
    let proxy = proxy(beside.connector.addr());
    proxy.set(up(broken(0..2))).unwrap();
    let run = oracle::watched(SourceConfig { window: 16, ..source(proxy.addr(), 2, 500) }, &[&sink]);
    wait_until("connections are closed", LONG, || run.stats().connections_lost > 4);
    assert_eq!(run.stats().acked, 0);
    proxy.heal().unwrap();
    let report = run.finish(&[&sink]);
    beside.check("changed bytes of frames", &[&report], &[&sink]);
    assert!(oracle::totals(&beside.connector)["framing_faults"] > 4);
}

#[test]
fn a_peer_that_reads_no_acks_is_closed_and_holds_up_nobody() {
    let sink = sink(Behaviour::default());
    let settings = Settings::to("HTTP_2", &[sink.addr()]).limit("ack-write-timeout: 1s");
    let mut beside = Beside::start(settings, "HTTP_2");
    let mut deaf = client(beside.connector.addr());
    socket2::SockRef::from(deaf.stream()).set_recv_buffer_size(4 << 10).unwrap();
    let started = Instant::now();
    // Acks of 30 bytes have to fill what two sockets hold.
    let mut sequence = 1 << 20;
    let mut closed = false;
    while !closed && started.elapsed() < 4 * LONG {
        closed = deaf.send_frame(&frames(sequence, 2_000)).is_err();
        sequence += 2_000;
    }
    assert!(closed, "{sequence} records without reading an ack");
    beside.connector.wait_log("it did not read its acks within limits.ack-write-timeout", LONG);
    eprintln!("closed after {} records, {:?}", sequence - (1 << 20), started.elapsed());
    drop(deaf);
    beside.check_others("a peer that reads no acks");
}

#[test]
fn idle_connections_and_storms_of_connections_disturb_nobody() {
    let sink = sink(Behaviour::default());
    let mut connector = Settings::to("HTTP_2", &[sink.addr()]).executors(2).start();
    let bounds = Bounds::before(&connector, 512 << 20);
    let stream = || SourceConfig { rate: Some(500.0), ..source(connector.addr(), 2, 1_000) };
    let calm = oracle::watched(stream(), &[&sink]).finish(&[&sink]);
    let before = connector.memory_kib("VmRSS");
    let idle: Vec<_> = (0..by_length(500, 5_000)).map(|_| connect(connector.addr())).collect();
    let with_idle = connector.memory_kib("VmRSS").saturating_sub(before);
    let spec = RecordSpec { run: 2, ..RecordSpec::default() };
    let noise = oracle::Noise::start();
    let run = oracle::watched(SourceConfig { records_spec: spec, ..stream() }, &[&sink]);
    let storm = (0..).take_while(|_| !run.is_finished()).map(|_| drop(connect(connector.addr()))).count();
    let report = run.finish(&[&sink]);
    assert_eq!(oracle::codes(&report), [(0, 1_000)]);
    eprintln!("{} idle connections: {with_idle} KiB; {storm} further ones came and went", idle.len());
    let (calm, stormy) = (oracle::latency(&calm, 0.9), oracle::latency(&report, 0.9));
    oracle::compare_latency("p90 during a storm of connections", calm, stormy, noise.finish(ms(60)));
    drop(idle);
    bounds.check(&connector, 8);
    connector.stop();
}

#[test]
fn without_descriptors_accepting_pauses_and_goes_on() {
    let sink = sink(Behaviour::default());
    let settings = Settings::to("HTTP_2", &[sink.addr()]);
    let limit = libc::rlimit { rlim_cur: 100, rlim_max: 100 };
    let mut connector = settings.spawn(|command| {
        // SAFETY: setrlimit is safe to call between fork and exec; the limit is a copy.
        unsafe {
            command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_NOFILE, &limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            })
        };
    });
    connector.wait_listening();
    // This one is there before, and goes on.
    let run = oracle::watched(SourceConfig { rate: Some(200.0), ..source(connector.addr(), 1, 800) }, &[&sink]);
    wait_until("records flow", LONG, || run.stats().acked > 20);
    let many: Vec<_> = (0..150).map(|_| connect(connector.addr())).collect();
    connector.wait_log("connections cannot be accepted", LONG);
    run.finish(&[&sink]);
    let (before, started) = (connector.cpu(), Instant::now());
    std::thread::sleep(Duration::from_secs(2));
    let share = (connector.cpu() - before).as_secs_f64() / started.elapsed().as_secs_f64();
    eprintln!("{:.1} % of a core while nothing can be accepted", share * 100.0);
    assert!(share < 0.25, "{share}: above five times the 5 % that are allowed");
    drop(many);
    assert_eq!(one_record(connector.addr(), 1 << 20), 0, "accepting goes on");
    connector.stop();
}
