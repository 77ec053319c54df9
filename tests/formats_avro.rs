//! The avro format: what it writes is read back by apache-avro and has the values that went in.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

#[path = "formats_avro/allocations.rs"]
mod allocations;
#[path = "formats_avro/containers.rs"]
mod containers;
#[path = "frames/corpus.rs"]
#[allow(dead_code, reason = "shared with frames.rs, which needs more of it")]
mod corpus;
#[path = "formats_avro/dump.rs"]
mod dump;
#[path = "formats_avro/infer.rs"]
mod infer;
#[path = "formats_avro/message.rs"]
mod message;
#[path = "formats_avro/random.rs"]
mod random;
#[path = "formats_avro/schemas.rs"]
mod schemas;
#[path = "formats_avro/server_frames.rs"]
mod server_frames;
#[path = "formats_avro/values.rs"]
mod values;
