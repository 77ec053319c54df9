//! `batching`, at any level: several records in one request.

use std::time::Duration;

use super::context::Context;
use super::model::{BatchBody, Batching};
use super::view::View;
use super::yaml::Kind;

/// Default of the official connector, in milliseconds.
const INTERVAL_MS: u32 = 8_000;
/// The largest value of the official connector's number types.
const MAX_BYTES: u64 = i64::MAX as u64;
const MAX_RECORDS: u32 = i32::MAX as u32;

/// Reads the `batching` of `level`. `None`: there is none.
pub fn read(context: &mut Context<'_>, level: &View<'_>) -> Option<Batching> {
    let entry = level.find("batching").filter(|entry| !entry.value.is_null())?;
    let view = level.section(context, "batching");
    if !matches!(entry.value.kind, Kind::Map(_)) {
        return None;
    }
    let interval = view.whole(context, "batch-interval", 1..=MAX_RECORDS, " milliseconds", INTERVAL_MS);
    Some(Batching {
        enabled: view.boolean(context, "enabled", true),
        max_bytes: view.size(context, "max-bytes", 1..=MAX_BYTES, MAX_BYTES),
        max_records: view.whole(context, "max-records", 1..=MAX_RECORDS, " records", MAX_RECORDS),
        interval: Duration::from_millis(interval.into()),
        body: view.choice(
            context,
            "body",
            &[("array", BatchBody::Array), ("ndjson", BatchBody::NdJson)],
            BatchBody::Array,
        ),
    })
}
