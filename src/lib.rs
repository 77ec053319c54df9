//! Ringpost: Aerospike change notifications (XDR) delivered over HTTP, at least once.
//!
//! Two halves: logic without I/O (everything here but `io` and `cli`: state machines over bytes, tickets and
//! injected time) and I/O without logic (`io`, the only place that knows the runtime). See `ARCHITECTURE.md`.

pub mod admin;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod format;
pub mod http;
pub mod io;
pub mod logging;
pub mod metrics;
pub mod policy;
pub mod record;
pub mod time;
pub mod tls;
pub mod wire;
