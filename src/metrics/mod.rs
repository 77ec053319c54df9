//! What an executor counts and how long things take: plain memory of its own, copied out now and then ([`snapshot`]).

pub mod recorder;
pub mod snapshot;
pub mod stages;

use crate::format::Notes;

/// Counts of one executor since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// XDR connections that were accepted.
    pub sources_opened: u64,
    /// XDR connections that ended.
    pub sources_closed: u64,
    /// XDR connections that ended because their framing broke.
    pub framing_faults: u64,
    /// XDR connections that were closed since too many others had their TLS handshake.
    pub handshakes_crowded_out: u64,
    /// Frames that were taken in.
    pub records: u64,
    /// Acks by code: delivered, or skipped on purpose.
    pub acked_ok: u64,
    /// Acks by code: 10.
    pub acked_permanent: u64,
    /// Acks by code: 11.
    pub acked_temporary: u64,
    /// Acks by code: 18.
    pub acked_overload: u64,
    /// Of the acks with 0, records that every destination has taken.
    pub acked_delivered: u64,
    /// Of the acks with 10 and 11, records whose content cannot be read or written.
    pub acked_bad_content: u64,
    /// Records acked 0 without a delivery, on purpose, as rules say or since there is none. Those that ordering acks
    /// without a delivery (`stale`, `coalesced`) are none of these.
    pub skipped: u64,
    /// Of these, records without any rule that says where they go.
    pub skipped_unrouted: u64,
    /// Of these, the server's own records about transactions, which are nobody's.
    pub skipped_monitors: u64,
    /// Records that the server sends again although a destination has taken them: answered 11, since another
    /// destination failed, or never answered, since their connection was lost.
    pub duplicates: u64,
    /// The same for records that nobody is known to have taken, and a request with them may have been acted on.
    pub duplicates_possible: u64,
    /// Versions that were acked 0 without a delivery, since a newer one was delivered.
    pub stale: u64,
    /// Of these, updates that do not have the complete record (`bin-policy`).
    pub stale_updates: u64,
    /// Versions that were acked 0 with a newer one that stood for them (`coalesce-waiting`).
    pub coalesced: u64,
    /// Versions that had to wait for one before them.
    pub ordered_waits: u64,
    /// Versions that were answered 11, since a newer one has to come again, or too many versions or records wait.
    pub ordered_refused: u64,
    /// Records without a last-update time, which cannot be ordered.
    pub unordered: u64,
    /// Records that were handed to the executor that orders them.
    pub handed_over: u64,
    /// Frames whose content was bad.
    pub content_faults: u64,
    /// Records whose handling panicked: a defect of this program, answered 11.
    pub panics: u64,
    /// Requests that were given to a connection.
    pub requests: u64,
    /// Responses with a success status.
    pub responses_success: u64,
    /// Responses with a status that says that the record will never be taken.
    pub responses_permanent: u64,
    /// Responses with another status.
    pub responses_other: u64,
    /// Requests without a complete response.
    pub requests_failed: u64,
    /// Requests that were given up at their call time-out.
    pub call_timeouts: u64,
    /// Records that were given up at their deadline.
    pub deadlines: u64,
    /// Requests that were sent a second time.
    pub retries: u64,
    /// Outcomes whose attempt was over; each changed nothing.
    pub late_outcomes: u64,
    /// Batches that were closed and sent.
    pub batches: u64,
    /// Records in them.
    pub batched_records: u64,
    /// Batches that a destination refused for good, whose records were sent again one by one.
    pub batches_taken_apart: u64,
    /// Header values that were left out because a record does not have them.
    pub headers_absent: u64,
    /// Header values that were left out because they are too long.
    pub headers_too_long: u64,
    /// Frames that were appended to `rejected-file`.
    pub rejected_kept: u64,
    /// Frames that `rejected-file` did not take; their records were answered 11.
    pub rejected_refused: u64,
    /// Records that found no usable URL or no room in a queue.
    pub refused: u64,
    /// Records whose source was gone before they were sent to each of their destinations.
    pub orphaned: u64,
    /// Times that a URL asked to be left alone (`Retry-After`).
    pub waits: u64,
    /// Times that a URL became unhealthy for this executor, found by its records or by probes.
    pub urls_unhealthy: u64,
    /// Probes that passed.
    pub probes_passed: u64,
    /// Probes that failed.
    pub probes_failed: u64,
    /// Connections to destinations that were opened.
    pub connections_opened: u64,
    /// Connections to destinations that could not be opened.
    pub connections_failed: u64,
    /// Connections that were replaced by new ones because they were too old, or their address was outdated.
    pub connections_replaced: u64,
    /// Connections that were given up because another executor wanted their place.
    pub connections_given_up: u64,
    /// Connections that ended because their peer answered neither a PING nor anything else.
    pub connections_silent: u64,
    /// HTTP/2 PINGs that were sent.
    pub pings: u64,
    /// Times that a source began to wait for room.
    pub pauses: u64,
    /// Values and names that no format could express as they were.
    pub notes: Notes,
}
