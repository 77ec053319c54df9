//! What the fuzz target of the configuration calls, shared with the test that replays its corpus.

use ringpost::config::{UnknownKeys, effective, parse_bytes};

/// Any bytes as a configuration file: either settings or located faults, and what is printed as effective settings
/// loads again.
pub fn config(data: &[u8]) {
    let loaded = parse_bytes("fuzz.yml", data, UnknownKeys::Error);
    assert_eq!(loaded.config.is_none(), !loaded.faults.is_empty());
    for fault in loaded.faults.iter().chain(&loaded.warnings) {
        assert!(fault.at.is_some_and(|(line, column)| line > 0 && column > 0) || fault.message.contains("not shown"));
        assert!(fault.to_string().len() < 4_096);
    }
    if loaded.config.is_some() {
        let shown = effective::print(&loaded, &Ok(vec![0]));
        let again = parse_bytes("fuzz.yml", shown.as_bytes(), UnknownKeys::Error);
        assert!(again.config.is_some(), "{shown}: {:?}", again.faults);
    }
}
