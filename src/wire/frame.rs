//! Frames: an 8-byte header (version 2, type, 48-bit size) and a body, put together from whatever pieces arrive.
//!
//! Invariants: a frame that lies whole in the input is lent, not copied; a frame that is split over reads is copied
//! once; memory grows with the bytes that arrived, never with the size that a header claims.

/// Bytes of the header in front of each body.
pub const HEADER_SIZE: usize = 8;

/// The only version there is.
const VERSION: u8 = 2;

/// Type of a frame with one message.
const MESSAGE: u8 = 3;

/// A buffer above this is given back when it becomes empty, so that one large record does not stay in memory for the
/// life of its connection.
const KEEP_CAPACITY: usize = 64 << 10;

/// The first piece of a frame gets at least this much room, so that one that arrives byte by byte does not grow eight
/// bytes at a time.
const MIN_CAPACITY: usize = 256;

/// The header of a message (type 3) whose body has `size` bytes.
pub const fn message_header(size: u64) -> [u8; HEADER_SIZE] {
    let [_, _, a, b, c, d, e, f] = size.to_be_bytes();
    [VERSION, MESSAGE, a, b, c, d, e, f]
}

/// Bounds on frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// Largest body; a frame whose header claims more closes the connection before anything is allocated.
    pub max_frame_bytes: u32,
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// Type 3: one message.
    Message,
    /// Type 4: one message, compressed (see [`crate::wire::compressed`]).
    Compressed,
    /// Either, whose content was not kept ([`Assembler::drop_frame`]); the body is empty.
    Dropped,
}

/// One whole frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the body is.
    pub kind: FrameKind,
    /// Everything after the header.
    pub body: &'a [u8],
}

/// Why a connection must be closed: nothing after this point of the stream can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A TLS ClientHello on a clear-text port.
    #[error(
        "this looks like TLS (a ClientHello) on a clear-text XDR port; take `tls-name` out of the source's datacenter, \
         or point it at a TLS port"
    )]
    Tls,
    /// An HTTP request.
    #[error(
        "this looks like an HTTP request ({0:?}) on an XDR port; this port takes Aerospike XDR only, so check the \
         client's or health check's address"
    )]
    Http(Prefix),
    /// Other readable text.
    #[error("this looks like text ({0:?}), not Aerospike XDR; check what connects to this port")]
    Text(Prefix),
    /// Type 1.
    #[error(
        "this is an Aerospike info request: a client or a tool (asinfo, asadm, a monitoring agent) or a datacenter \
         without `connector true`; point it at a database node, or set `connector true`"
    )]
    Info,
    /// Type 2.
    #[error(
        "this is an Aerospike login: a client, or a datacenter that authenticates; connectors take no login, so set \
         `connector true` and leave `auth-user` out of the source's datacenter"
    )]
    Login,
    /// Type 5.
    #[error("this is a message between the nodes of a cluster (type 5); check the address in the source's datacenter")]
    Internal,
    /// Another version.
    #[error("the frame has protocol version {version}, not 2 (first bytes {first:02x?}); this is not Aerospike XDR")]
    Version {
        /// What stands in its place.
        version: u8,
        /// The header as it came.
        first: [u8; HEADER_SIZE],
    },
    /// A type that does not exist.
    #[error("the frame has type {kind} (first bytes {first:02x?}); XDR sends 3 (message) and 4 (compressed message)")]
    Type {
        /// What stands in its place.
        kind: u8,
        /// The header as it came.
        first: [u8; HEADER_SIZE],
    },
    /// Above the limit.
    #[error(
        "the frame claims {size} bytes, the limit is {limit}; if records are that large raise limits.max-frame-bytes"
    )]
    TooLarge {
        /// Bytes that the header claims.
        size: u64,
        /// The limit in bytes.
        limit: u32,
    },
}

/// The first bytes of a stream that is not XDR, shown as text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Prefix([u8; HEADER_SIZE]);

impl std::fmt::Debug for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// A header that was understood.
#[derive(Debug, Clone, Copy)]
struct Header {
    kind: FrameKind,
    /// Bytes of header and body.
    total: usize,
}

/// Puts together the frames of one connection. Holds only what is not consumed yet: the start of a frame whose rest has
/// not arrived, or bytes that were set aside.
#[derive(Debug)]
pub struct Assembler {
    limits: FrameLimits,
    /// Bytes kept; those before `consumed` belong to frames that were lent out.
    kept: Vec<u8>,
    consumed: usize,
    /// Bytes still to come of a frame that is dropped.
    dropping: Option<usize>,
}

impl Assembler {
    /// For a new connection.
    pub const fn new(limits: FrameLimits) -> Assembler {
        Assembler { limits, kept: Vec::new(), consumed: 0, dropping: None }
    }

    /// The next whole frame out of what was kept plus `input`; `input` is advanced past what was used. `None`: all of
    /// the input is used up, and what it holds of an unfinished frame is kept.
    ///
    /// # Errors
    /// The connection must be closed; the assembler must not be used any more.
    #[inline]
    pub fn next<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Result<Option<Frame<'a>>, FrameError> {
        if self.consumed == self.kept.len() {
            self.release();
            if self.dropping.is_some() {
                return Ok(self.drop_from(input));
            }
            return self.next_from_input(input);
        }
        if self.dropping.is_some() {
            // What is kept came after the dropped frame.
            return Ok(self.drop_from(&mut &[][..]));
        }
        self.next_from_kept(input)
    }

    /// Sets `rest` aside, behind what is kept already; it may hold several frames. The next calls of
    /// [`Assembler::next`] give those first.
    pub fn keep(&mut self, mut rest: &[u8]) {
        if let Some(left) = self.dropping {
            let before = rest.len();
            rest = rest.get(left.min(rest.len())..).unwrap_or_default();
            self.dropping = Some(left.saturating_sub(before - rest.len()));
        }
        if !rest.is_empty() {
            self.append(rest, 0);
        }
    }

    /// Does not keep the unfinished frame, if its header is known: neither what is here of it nor what is still to
    /// come. Where it ends it is given as [`FrameKind::Dropped`], since it has to be answered.
    pub fn drop_frame(&mut self) {
        let wanted = self.wanted_bytes();
        if wanted > 0 {
            self.dropping = Some(wanted - self.unread().len());
            self.kept = Vec::new();
            self.consumed = 0;
        }
    }

    /// Bytes held on the heap.
    pub const fn held_bytes(&self) -> usize {
        self.kept.capacity()
    }

    /// Bytes of the unfinished frame, header included, as soon as its header is known; else 0.
    pub fn wanted_bytes(&self) -> usize {
        match self.unread().first_chunk().map(|first| parse_header(first, self.limits)) {
            Some(Ok(header)) if header.total > self.unread().len() => header.total,
            _ => 0,
        }
    }

    /// Whether the stream stops inside a frame.
    pub fn is_mid_frame(&self) -> bool {
        if let Some(left) = self.dropping {
            return left > 0;
        }
        let unread = self.unread();
        match unread.first_chunk::<HEADER_SIZE>() {
            None => !unread.is_empty(),
            Some(_) => self.wanted_bytes() > 0,
        }
    }

    /// Whether bytes are kept that are more than the start of a frame: [`Assembler::next`] has work without input.
    pub fn has_frames(&self) -> bool {
        (self.dropping.is_some() || !self.unread().is_empty()) && !self.is_mid_frame()
    }

    fn unread(&self) -> &[u8] {
        self.kept.get(self.consumed..).unwrap_or_default()
    }

    fn drop_from<'a>(&mut self, input: &mut &[u8]) -> Option<Frame<'a>> {
        let left = self.dropping?;
        let dropped = left.min(input.len());
        *input = input.get(dropped..).unwrap_or_default();
        let is_over = dropped == left;
        self.dropping = (!is_over).then_some(left - dropped);
        is_over.then_some(Frame { kind: FrameKind::Dropped, body: &[] })
    }

    /// The way of nearly every frame: no byte is copied.
    fn next_from_input<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Result<Option<Frame<'a>>, FrameError> {
        let bytes = *input;
        let mut total = 0;
        if let Some(first) = bytes.first_chunk() {
            let header = parse_header(first, self.limits)?;
            if let Some((frame, rest)) = bytes.split_at_checked(header.total) {
                *input = rest;
                return Ok(Some(Frame { kind: header.kind, body: frame.get(HEADER_SIZE..).unwrap_or_default() }));
            }
            total = header.total;
        }
        *input = &[];
        if !bytes.is_empty() {
            self.append(bytes, total);
        }
        Ok(None)
    }

    fn next_from_kept<'a>(&'a mut self, input: &mut &[u8]) -> Result<Option<Frame<'a>>, FrameError> {
        if !self.fill(HEADER_SIZE, input) {
            return Ok(None);
        }
        let Some(first) = self.unread().first_chunk() else { return Ok(None) };
        let header = parse_header(first, self.limits)?;
        if !self.fill(header.total, input) {
            return Ok(None);
        }
        let start = self.consumed + HEADER_SIZE;
        self.consumed += header.total;
        let body = self.kept.get(start..self.consumed).unwrap_or_default();
        Ok(Some(Frame { kind: header.kind, body }))
    }

    /// Brings what is unread up to `count` bytes, as far as the input goes; whether it went that far.
    fn fill(&mut self, count: usize, input: &mut &[u8]) -> bool {
        let missing = count.saturating_sub(self.unread().len());
        if missing == 0 {
            return true;
        }
        let (head, rest) = input.split_at_checked(missing).unwrap_or((*input, &[]));
        *input = rest;
        self.append(head, count);
        head.len() == missing
    }

    /// Appends `bytes`. Room at least doubles as it grows, so that the work stays linear, but does not pass `total`,
    /// the size of the frame in progress, if that is known.
    fn append(&mut self, bytes: &[u8], total: usize) {
        if self.consumed > 0 && self.consumed >= self.kept.len() - self.consumed {
            self.kept.drain(..self.consumed);
            self.consumed = 0;
        }
        let needed = self.kept.len() + bytes.len();
        if needed > self.kept.capacity() {
            let grown = needed.max(self.kept.capacity() * 2).max(MIN_CAPACITY);
            let target = if total > 0 { grown.min((self.consumed + total).max(needed)) } else { grown };
            self.kept.reserve_exact(target - self.kept.len());
        }
        self.kept.extend_from_slice(bytes);
    }

    fn release(&mut self) {
        if self.consumed > 0 {
            self.kept.clear();
            self.consumed = 0;
            if self.kept.capacity() > KEEP_CAPACITY {
                self.kept = Vec::new();
            }
        }
    }
}

fn parse_header(first: &[u8; HEADER_SIZE], limits: FrameLimits) -> Result<Header, FrameError> {
    let word = u64::from_be_bytes(*first);
    let kind = match word >> 48 {
        0x0203 => FrameKind::Message,
        0x0204 => FrameKind::Compressed,
        _ => return Err(not_xdr(first)),
    };
    let size = word & 0xFFFF_FFFF_FFFF;
    match usize::try_from(size) {
        Ok(bytes) if size <= u64::from(limits.max_frame_bytes) => Ok(Header { kind, total: HEADER_SIZE + bytes }),
        _ => Err(FrameError::TooLarge { size, limit: limits.max_frame_bytes }),
    }
}

/// What a header that is not XDR's probably is.
#[cold]
fn not_xdr(first: &[u8; HEADER_SIZE]) -> FrameError {
    const METHODS: [&[u8]; 10] =
        [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"CONNECT ", b"TRACE ", b"PATCH ", b"PRI * HT"];
    let [version, kind, ..] = *first;
    // A TLS record: handshake (22), version 3.x, and in it a ClientHello (1). The server looks for the same bytes.
    if let [22, 3, _, _, _, 1, ..] = first {
        return FrameError::Tls;
    }
    if METHODS.iter().any(|method| method.starts_with(first) || first.starts_with(method)) {
        return FrameError::Http(Prefix(*first));
    }
    if first.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        return FrameError::Text(Prefix(*first));
    }
    match (version, kind) {
        (VERSION, 1) => FrameError::Info,
        (0 | VERSION, 2) => FrameError::Login,
        (VERSION, 5) => FrameError::Internal,
        (VERSION, _) => FrameError::Type { kind, first: *first },
        _ => FrameError::Version { version, first: *first },
    }
}

#[cfg(test)]
mod tests;
