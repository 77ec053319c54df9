//! The chunked transfer coding (RFC 9112 section 7.1), one byte at a time outside of chunk data.

/// Digits of a chunk size: 2^60 bytes and more are never sent, and leading zeros could go on for ever.
const MAX_SIZE_DIGITS: u32 = 15;

/// Where in the coding the next byte is.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    size: u64,
    digits: u32,
    /// Bytes of extensions and trailers that may still come.
    extra: usize,
    /// Bytes of chunk data after which reading stops.
    max_body: usize,
}

/// What a read came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    More,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a trailer line, or of the empty line that ends it all.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

impl Chunked {
    /// At the first chunk size; `extra`: bytes of extensions and trailers that are taken in all.
    pub(super) fn new(extra: usize, max_body: usize) -> Chunked {
        Chunked { state: State::Size, size: 0, digits: 0, extra, max_body }
    }

    /// Takes bytes, adds those of the body to `body`, and says how many it took. It stops where the body is over its
    /// limit, so that what comes after is not looked at, however the bytes were cut.
    pub(super) fn receive(&mut self, bytes: &[u8], body: &mut usize) -> Result<(usize, Step), &'static str> {
        let mut taken = 0;
        while let Some(&byte) = bytes.get(taken) {
            if self.state == State::Data {
                let length = usize::try_from(self.size).unwrap_or(usize::MAX).min(bytes.len() - taken);
                self.size -= length as u64;
                *body += length;
                taken += length;
                if self.size == 0 {
                    self.state = State::DataCr;
                }
                if *body > self.max_body {
                    break;
                }
                continue;
            }
            self.state = self.next(byte)?;
            taken += 1;
            if self.state == State::Done {
                return Ok((taken, Step::Done));
            }
        }
        Ok((taken, Step::More))
    }

    fn next(&mut self, byte: u8) -> Result<State, &'static str> {
        let state = match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.digit(byte)?,
            (State::Size, b';' | b' ' | b'\t') if self.digits > 0 => State::Extension,
            (State::Size, b'\r') if self.digits > 0 => State::SizeLf,
            (State::Size, _) => return Err("a chunk size is malformed"),
            (State::Extension, b'\r') => State::SizeLf,
            (State::Extension, _) => self.count(byte, State::Extension)?,
            (State::SizeLf, b'\n') if self.size == 0 => State::TrailerStart,
            (State::SizeLf, b'\n') => {
                self.digits = 0;
                State::Data
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size,
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::TrailerStart, b' ' | b'\t' | b':') => return Err("a trailer is malformed"),
            (State::TrailerName, b':') => self.count(byte, State::TrailerValue)?,
            (State::TrailerName, b'\r') => return Err("a trailer is malformed"),
            (State::TrailerStart | State::TrailerName, _) => self.count(byte, State::TrailerName)?,
            (State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerValue, _) => self.count(byte, State::TrailerValue)?,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::Done,
            _ => return Err("the chunked coding is malformed"),
        };
        Ok(state)
    }

    fn digit(&mut self, byte: u8) -> Result<State, &'static str> {
        if self.digits == 0 {
            self.size = 0;
        }
        self.digits += 1;
        if self.digits > MAX_SIZE_DIGITS {
            return Err("a chunk size is too long");
        }
        let value = match byte {
            b'0'..=b'9' => byte - b'0',
            _ => (byte | 0x20) - b'a' + 10,
        };
        self.size = self.size << 4 | u64::from(value);
        Ok(State::Size)
    }

    fn count(&mut self, byte: u8, state: State) -> Result<State, &'static str> {
        if byte == b'\n' || byte == 0 {
            return Err("the chunked coding has a bare LF or a NUL");
        }
        self.extra = self.extra.checked_sub(1).ok_or("chunk extensions or trailers are over the limit")?;
        Ok(state)
    }
}
