//! Bounds of one connection, named; each says what breaks without it; and which answers wait for all of their request.

use crate::config::model::StatusSet;

/// Bounds of one [`super::Exchange`].
#[derive(Debug, Clone)]
pub struct ExchangeLimits {
    /// Bytes of a response head (HTTP/1.1: status line, headers and trailers, chunk extensions; HTTP/2: header list).
    /// Without it a peer fills memory with headers.
    pub max_response_head_bytes: usize,
    /// Bytes of a response body that are read and dropped. Without it a peer keeps a connection busy for ever.
    pub max_response_body_bytes: usize,
    /// HTTP/2: streams at once; the peer's limit holds if it is lower. Not 0.
    pub max_streams: usize,
    /// HTTP/2: requests before an answer shows that the peer takes more of them on this connection; then twice as many,
    /// and so on. Without it a peer that takes few requests per connection refuses nearly all that it is sent. Not 0.
    pub first_requests: usize,
    /// HTTP/2: requests of one connection; the next one needs a new connection. Identifiers of streams end at 2^31.
    pub max_requests: usize,
    /// Bytes that one [`super::Exchange::transmit`] hands out. Without it a batch of large bodies is copied at once.
    pub transmit_high_water: usize,
    /// Statuses that mean that the record was taken: such an answer counts only when its request is written, or the record
    /// would be lost with it.
    pub success: StatusSet,
}

impl ExchangeLimits {
    /// Default of [`ExchangeLimits::max_response_head_bytes`].
    pub const RESPONSE_HEAD_BYTES: usize = 32 << 10;
    /// Default of [`ExchangeLimits::max_response_body_bytes`].
    pub const RESPONSE_BODY_BYTES: usize = 64 << 10;
    /// Default of [`ExchangeLimits::max_streams`].
    pub const STREAMS: usize = 256;
    /// Default of [`ExchangeLimits::max_requests`].
    pub const REQUESTS: usize = (1 << 30) - 1;
    /// Default of [`ExchangeLimits::transmit_high_water`].
    pub const TRANSMIT_HIGH_WATER: usize = 256 << 10;
}

impl Default for ExchangeLimits {
    fn default() -> ExchangeLimits {
        ExchangeLimits {
            max_response_head_bytes: Self::RESPONSE_HEAD_BYTES,
            max_response_body_bytes: Self::RESPONSE_BODY_BYTES,
            max_streams: Self::STREAMS,
            first_requests: usize::MAX,
            max_requests: Self::REQUESTS,
            transmit_high_water: Self::TRANSMIT_HIGH_WATER,
            success: StatusSet::successful(),
        }
    }
}
