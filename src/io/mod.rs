//! I/O without logic: sockets, timers, threads. The only place that knows glommio.
//!
//! - `start`: checks of the machine before anything is opened, with what to do about each
//! - `cores`: which cores an executor gets
//! - `listen`: listening sockets; an accepted connection is handed to one executor, once
//! - `executor`: one thread, one ring, one engine
//! - `source`, `connection`: one task for each socket; `secured`: TLS of an XDR connection
//! - `turn`: how a task that has more to do lets the ring be looked at first
//! - `dial`: opening a connection to one of the addresses of a name
//! - [`certificates`]: certificates and keys on disk, read and watched, off the executors
//! - `resolve`: name look-up, off the executors
//! - `figures`: what executors publish of themselves, read from other threads
//! - [`manage_client`]: asks another process's manage port, for commands
//! - `watchdog`: sees an executor that stands still
//! - [`connector`]: all of it together

pub mod certificates;
mod connection;
pub mod connector;
mod control;
pub mod cores;
mod dial;
mod executor;
mod figures;
mod handover;
mod listen;
mod manage;
pub mod manage_client;
mod process;
mod rejected;
pub mod resolve;
mod secured;
mod shell;
mod source;
pub mod start;
mod sys;
mod tap;
mod turn;
mod watchdog;

pub use connector::{Connector, StartError};
pub use figures::Figures;
pub use manage::{Bound, Manage, ManageError};
pub use process::started;
