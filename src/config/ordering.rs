//! `record-ordering`, at any level but that of a set: one version of a record in flight.

use std::time::Duration;

use super::context::Context;
use super::model::RecordOrdering;
use super::view::View;
use super::yaml::Kind;

/// Default of the official connector, in seconds.
const TTL_SECONDS: u32 = 30;
/// A day: what an entry outlives is bounded by their number long before.
const MAX_TTL_SECONDS: u32 = 86_400;
const MAX_ENTRIES: u32 = 1_000_000;
/// At about 200 bytes each, more than any machine has memory for.
const MOST_ENTRIES: u32 = 100_000_000;

/// Reads the `record-ordering` of `level`. `None`: there is none.
pub fn read(context: &mut Context<'_>, level: &View<'_>) -> Option<RecordOrdering> {
    let entry = level.find("record-ordering").filter(|entry| !entry.value.is_null())?;
    let view = level.section(context, "record-ordering");
    if !matches!(entry.value.kind, Kind::Map(_)) {
        return None;
    }
    let ttl = view.whole(context, "lut-cache-ttl-seconds", 1..=MAX_TTL_SECONDS, " seconds", TTL_SECONDS);
    Some(RecordOrdering {
        enable: view.boolean(context, "enable", true),
        ttl: Duration::from_secs(ttl.into()),
        coalesce_waiting: view.boolean(context, "coalesce-waiting", false),
        max_entries: view.whole(context, "max-entries", 1..=MOST_ENTRIES, " records", MAX_ENTRIES),
    })
}
