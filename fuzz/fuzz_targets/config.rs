//! Any bytes as a configuration file. Seeds: `examples/` and `examples/invalid/`.
#![no_main]

#[path = "../entry/config.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entry::config(data));
