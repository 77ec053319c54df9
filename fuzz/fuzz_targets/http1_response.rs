//! HTTP/1.1 responses: nothing panics, and the outcome does not depend on how the bytes are cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringpost::http::fuzz_http1_response(data));
