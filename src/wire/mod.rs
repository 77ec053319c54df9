//! The XDR wire, pure: bytes in, frames and acks out.
//!
//! Knows the layout of frames, acks and the XDR epoch. Does not know what a record means ([`crate::record`] does), and
//! has no socket, clock or runtime. A fault of framing ([`frame::FrameError`]) closes the connection, since nothing
//! after it can be trusted; a fault inside a well-framed message never does.

pub mod ack;
pub mod compressed;
pub mod epoch;
pub mod frame;
pub mod reader;
