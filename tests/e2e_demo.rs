//! `ringpost demo` for both protocols and both formats.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

use std::process::Command;

fn demo(protocol: &str, format: &str, executors: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_ringpost"))
        .args([
            "demo",
            "--json",
            "--records",
            "3000",
            "--protocol",
            protocol,
            "--format",
            format,
            "--executors",
            executors,
        ])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for key in ["records_sent", "records_delivered", "records_acked"] {
        assert_eq!(report[key], 3000, "{key}: {report}");
    }
    assert_eq!((&report["lost"], &report["duplicates"]), (&0.into(), &0.into()), "{report}");
    for key in ["records_per_second", "cpu_us_per_record"] {
        assert!(report[key].as_f64().unwrap() > 0.0, "{key}: {report}");
    }
    let latency = ["p50", "p90", "p99", "p999", "max"].map(|key| report["latency_us"][key].as_f64().unwrap());
    assert!(latency[0] > 0.0 && latency.is_sorted(), "{report}");
    // The first requests are shown, apart from the report.
    let version = if protocol == "http1" { "HTTP/1.1" } else { "HTTP/2" };
    assert!(errors.contains(&format!("POST /records {version}")), "{errors}");
    assert!(errors.contains("aerospike-digest"), "{errors}");
}

#[test]
fn http1_and_flat_json() {
    demo("http1", "flat-json", "1");
}

#[test]
fn http1_and_json() {
    demo("http1", "json", "1");
}

#[test]
fn http2_and_flat_json() {
    demo("http2", "flat-json", "2");
}

#[test]
fn http2_and_json() {
    demo("http2", "json", "1");
}

#[test]
fn the_table_for_people() {
    let output = Command::new(env!("CARGO_BIN_EXE_ringpost"))
        .args(["demo", "--seconds", "2", "--rate", "500"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    for part in ["POST /records", "1 s  sent", "records sent", "lost", "latency p99.9", "CPU us per record"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}
