#![no_main]

#[path = "../entry/wire.rs"]
#[allow(dead_code, reason = "each target calls one of the entries")]
mod wire;

libfuzzer_sys::fuzz_target!(|data: &[u8]| wire::values(data));
