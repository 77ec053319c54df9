//! Files that were made to hurt: bounded time, bounded answers, no panic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

use std::time::{Duration, Instant};

use ringpost::config::{UnknownKeys, parse};

#[test]
fn hostile_files_are_refused_in_bounded_time_with_a_bounded_answer() {
    let many_keys: String = (0..60_000).map(|number| format!("k{number}: 1\n")).collect();
    let many_values = format!("service: {{ port: [ {} ] }}\n", "1,".repeat(90_000));
    let anchors = format!("a: {}1\n", "&a [".repeat(30));
    let aliases = format!("a: &a [ {} ]\nb: [ {} ]\n", "1,".repeat(1_000), "*a,".repeat(50_000));
    let long_key = format!("{}: 1\n", "k".repeat(500_000));
    let deep_block: String = (0..1_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    // Every combination of a thousand ports and thousands of sets could be looked at.
    let ports: String = (1..1_000).map(|port| format!("{port},")).collect();
    let blocks: String = (1..1_000).map(|port| format!("  {port}: {{ routing: {{ mode: skip }} }}\n")).collect();
    let sets: String = (0..12_000).map(|set| format!("      s{set}: {{ batching: {{}} }}\n")).collect();
    let many_levels = format!(
        "service: {{ port: [ {ports} ] }}\nport-based-config:\n{blocks}namespaces:\n  n:\n    sets:\n{sets}zzz: 1\n"
    );
    let headers: String = (0..20_000).map(|name| format!("x{name}: {{}}, ")).collect();
    let many_headers = format!("destinations: {{ a: {{ urls: http://h/, headers: {{ {headers} }} }} }}\n");
    let bins: String = (0..20_000).map(|name| format!("x{name}: [], ")).collect();
    let many_bins = format!("bin-transforms: {{ map: {{ {bins} }} }}\n");
    for text in [
        many_keys,
        many_values,
        anchors,
        aliases,
        long_key,
        deep_block,
        "[".repeat(500_000),
        "- ".repeat(300_000),
        many_levels,
        many_headers,
        many_bins,
    ] {
        let began = Instant::now();
        let loaded = parse("a.yml", &text, UnknownKeys::Error);
        let start: String = text.chars().take(20).collect();
        assert!(!loaded.faults.is_empty() && loaded.faults.len() <= 202, "{start}");
        assert!(loaded.faults.iter().all(|fault| fault.to_string().len() < 1_000), "{start}");
        assert!(began.elapsed() < Duration::from_secs(10), "{start}: {:?}", began.elapsed());
    }
}

/// The corpus of the fuzz target `config`, and every file that the other tests use.
#[test]
fn the_fuzz_corpus_is_replayed() {
    let mut replayed = 0;
    for folder in ["fuzz/corpus/config", "examples", "examples/invalid", "tests/data/config/official"] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(bytes) = std::fs::read(entry.path()) else { continue };
            let loaded = ringpost::config::parse_bytes("corpus.yml", &bytes, UnknownKeys::Warn);
            assert_eq!(loaded.config.is_none(), !loaded.faults.is_empty(), "{}", entry.path().display());
            replayed += 1;
        }
    }
    assert!(replayed > 30, "{replayed}");
}
