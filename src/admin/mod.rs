//! What the manage port says: text and JSON out of a [`view::View`]. No socket, no clock: [`crate::io`] has them.

pub mod access;
pub mod history;
pub mod log_levels;
pub mod metrics_json;
pub mod outcomes;
pub mod prometheus;
pub mod router;
pub mod status;
pub mod tap;
pub mod text;
pub mod ticker;
pub(crate) mod top;
pub mod view;
