//! TLS: what certificates, keys and settings are, the handles through which connections get them, and [`session`]: one
//! connection.
//!
//! Knows no file, socket or clock: bytes of files and the time come in as arguments. Invariants: no password and no key
//! is ever part of a message; early data is never sent or taken.
//!
//! How the rest of the program uses it: `io::certificates` makes [`Materials`] from the configuration before executors
//! start; a connection that is opened asks its handle once for the current settings ([`ClientTls::config`],
//! [`ServerTls::config`]) and keeps them for its life.

pub mod certificate;
pub mod edge;
pub mod material;
pub mod names;
pub mod session;
pub mod settings;

mod der;
mod encrypted;
mod fault;
mod handles;
mod jks;
mod pem;
mod pkcs12;
mod verify;

pub use handles::{ClientTls, Expiry, Materials, ServerTls, server_name};
