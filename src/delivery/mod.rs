//! Delivery without I/O: what is in flight, for whom, until when, and what the source is told in the end.
//!
//! [`engine::Engine`] is one executor's whole connector as a state machine over bytes, keys and injected time. It
//! knows no socket, no clock and no runtime, so that the simulation and the real program run the same code.
//!
//! Invariants:
//! - A record has one place in its connection's [`window::AckWindow`], gets exactly one code, and codes leave in the
//!   order of arrival.
//! - Code 0 needs an answer with success from every destination of the record.
//! - A record without an outcome gets 11 at its deadline. No path waits without one.
//! - An outcome whose ticket is old changes nothing but a counter.

pub mod answer;
pub mod batch;
pub mod bodies;
pub mod breaker;
pub mod budget;
pub mod chain;
pub mod encoders;
pub mod endpoint;
pub mod engine;
pub mod flight;
pub mod gzip;
pub mod handover;
pub mod health;
pub mod lease;
pub mod names;
pub mod ordering;
pub mod places;
pub mod queue;
pub mod rejects;
pub mod source;
pub mod spread;
pub mod table;
pub mod tap;
pub mod trouble;
pub mod window;
