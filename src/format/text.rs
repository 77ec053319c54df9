//! JSON text of scalars, written straight into the buffer.

/// What stands for bytes that are not UTF-8.
const REPLACEMENT: &[u8] = "\u{FFFD}".as_bytes();

/// Writes `text` as a JSON string. Returns whether bytes that are not UTF-8 were replaced.
#[inline]
pub(super) fn string(out: &mut Vec<u8>, text: &[u8]) -> bool {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let replaced = escaped(out, text);
    out.push(b'"');
    replaced
}

/// Bytes that [`escaped`] would write.
pub(super) fn escaped_bytes(text: &[u8]) -> usize {
    if std::str::from_utf8(text).is_ok() {
        return escaped_valid_bytes(text);
    }
    let of_chunk = |chunk: std::str::Utf8Chunk<'_>| {
        let instead = if chunk.invalid().is_empty() { 0 } else { REPLACEMENT.len() };
        escaped_valid_bytes(chunk.valid().as_bytes()) + instead
    };
    text.utf8_chunks().map(of_chunk).sum()
}

/// Bytes that a byte of a text is written as, at most.
pub(super) const MOST_ESCAPED: usize = 6;

fn escaped_valid_bytes(text: &[u8]) -> usize {
    /// So many bytes add no more than a byte can count, so that the sum of each part is made by vector instructions.
    const PART: usize = 48;
    let more = |byte: &u8| {
        let is_short = matches!(*byte, b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c);
        let is_long = *byte < 0x20 && !is_short;
        u8::from(is_short) + 5 * u8::from(is_long)
    };
    let of_part = |part: &[u8]| usize::from(part.iter().map(more).sum::<u8>());
    text.len() + text.chunks(PART).map(of_part).sum::<usize>()
}

/// Writes what stands between the quotes of a JSON string. Returns whether bytes that are not UTF-8 were replaced.
#[inline]
pub(super) fn escaped(out: &mut Vec<u8>, text: &[u8]) -> bool {
    let plain = plain_prefix(text);
    let (head, rest) = text.split_at_checked(plain).unwrap_or((text, &[]));
    out.extend_from_slice(head);
    !rest.is_empty() && escaped_slow(out, rest)
}

/// The way of text with anything but printable ASCII in it.
#[inline(never)]
fn escaped_slow(out: &mut Vec<u8>, text: &[u8]) -> bool {
    if std::str::from_utf8(text).is_ok() {
        escape_valid(out, text);
        return false;
    }
    for chunk in text.utf8_chunks() {
        escape_valid(out, chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(REPLACEMENT);
        }
    }
    true
}

/// Escapes what is known to be UTF-8.
fn escape_valid(out: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    loop {
        let run = unescaped_prefix(rest);
        let (head, tail) = rest.split_at_checked(run).unwrap_or((rest, &[]));
        out.extend_from_slice(head);
        let Some((byte, after)) = tail.split_first() else { return };
        escape_byte(out, *byte);
        rest = after;
    }
}

fn escape_byte(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            #[allow(clippy::indexing_slicing, reason = "four bits index sixteen digits")]
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0x0f)]];
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&digits);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// High bit set in the lowest byte that needs an escape: below 0x20, a quote or a backslash. Bytes above that one may be
/// marked wrongly, as the subtractions borrow upwards.
#[inline]
const fn escapes(word: u64) -> u64 {
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    (control | quote | backslash) & HIGHS
}

/// As [`escapes`], and bytes above ASCII as well.
#[inline]
const fn specials(word: u64) -> u64 {
    escapes(word) | (word & HIGHS)
}

/// Bytes before the first that is not printable ASCII or needs an escape.
#[inline]
fn plain_prefix(text: &[u8]) -> usize {
    prefix(text, specials)
}

/// Bytes before the first that needs an escape.
#[inline]
fn unescaped_prefix(text: &[u8]) -> usize {
    prefix(text, escapes)
}

/// Bytes before the first that `marks` marks, eight at a time.
#[inline]
fn prefix(text: &[u8], marks: impl Fn(u64) -> u64) -> usize {
    let mut at = 0;
    let mut rest = text;
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        let found = marks(u64::from_le_bytes(*word));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
        rest = after;
    }
    // Spaces need no escape, so a word filled up with them says the truth about the rest.
    let found = marks(last_word(rest));
    if found != 0 { at + found.trailing_zeros() as usize / 8 } else { text.len() }
}

/// Fewer than eight bytes, filled up with spaces.
#[inline]
fn last_word(rest: &[u8]) -> u64 {
    const SPACES: u64 = ONES * b' ' as u64;
    if let (Some(first), Some(last)) = (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        let shift = 8 * (rest.len() as u32 - 4);
        let low = u64::from(u32::from_le_bytes(*first));
        let high = u64::from(u32::from_le_bytes(*last)) << shift;
        return low | high | SPACES.checked_shl(shift + 32).unwrap_or(0);
    }
    match *rest {
        [a, b, c] => SPACES << 24 | u64::from(c) << 16 | u64::from(b) << 8 | u64::from(a),
        [a, b] => SPACES << 16 | u64::from(b) << 8 | u64::from(a),
        [a] => SPACES << 8 | u64::from(a),
        _ => SPACES,
    }
}

/// Writes a signed integer, all 64 bits.
#[inline]
pub(super) fn integer(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Writes an unsigned integer.
#[inline]
pub(super) fn unsigned(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// The name of a double that JSON has no number for.
pub(super) const fn non_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

/// Writes a double in the shortest text that reads back equal; NaN and infinities as strings (decisions.md, Formats).
#[inline]
pub(super) fn double(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else {
        out.push(b'"');
        out.extend_from_slice(non_finite(value).as_bytes());
        out.push(b'"');
    }
}

/// Writes a double as a member name.
pub(super) fn double_name(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        out.push(b'"');
        double(out, value);
        out.push(b'"');
    } else {
        double(out, value);
    }
}

/// Writes bytes as a string of standard Base64 with padding.
#[inline]
pub(super) fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    base64_simd::STANDARD.encode_append(bytes, out);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_byte_at_every_place_is_escaped_as_an_independent_writer_does() {
        for length in 1..20 {
            for place in 0..length {
                for byte in 0..=127u8 {
                    let mut text = vec![b'x'; length];
                    text[place] = byte;
                    assert_eq!(escaped_bytes(&text) + 2, written(|out| _ = string(out, &text)).len());
                    let text = String::from_utf8(text).unwrap();
                    let expected = serde_json::to_string(&text).unwrap();
                    assert_eq!(written(|out| assert!(!string(out, text.as_bytes()))), expected);
                }
            }
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_become_replacement_characters() {
        for bytes in [&b"ok \xff\xfe \xc3( \xed\xa0\x80 end"[..], b"\xff", b"\xe2\x82", b"12345678\xf0\x9f\x92"] {
            let mut out = Vec::new();
            assert!(string(&mut out, bytes));
            assert_eq!(escaped_bytes(bytes) + 2, out.len());
            let text: String = serde_json::from_slice(&out).unwrap();
            assert_eq!(text, String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn doubles_are_json_and_read_back_equal() {
        let values =
            [0.0, -0.0, 1.0, 0.1, 1e21, 1e300, -1e308, 5e-324, f64::MAX, f64::MIN_POSITIVE, 123456789.125, 1e-7];
        for value in values {
            let text = written(|out| double(out, value));
            let back: f64 = serde_json::from_str::<serde_json::Value>(&text).unwrap().as_f64().unwrap();
            assert_eq!(back.to_bits(), value.to_bits(), "{text}");
        }
        assert_eq!(written(|out| double(out, -0.0)), "-0.0");
        assert_eq!(written(|out| double(out, f64::NAN)), "\"NaN\"");
        assert_eq!(written(|out| double(out, f64::INFINITY)), "\"Infinity\"");
        assert_eq!(written(|out| double(out, f64::NEG_INFINITY)), "\"-Infinity\"");
        assert_eq!(written(|out| double_name(out, 1.5)), "\"1.5\"");
    }

    #[test]
    fn base64_is_standard_with_padding() {
        // RFC 4648 section 10, and the digest of the captured frame.
        let cases: [(&[u8], &str); 4] = [(b"", ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foobar", "Zm9vYmFy")];
        for (bytes, text) in cases {
            assert_eq!(written(|out| base64(out, bytes)), format!("\"{text}\""));
        }
        assert_eq!(written(|out| base64(out, b"\xfb\xff\xbf")), "\"+/+/\"");
    }

    proptest! {
        #[test]
        fn any_bytes_are_written_as_an_independent_writer_writes_their_text(bytes: Vec<u8>, text: String) {
            for bytes in [&bytes[..], text.as_bytes()] {
                let lossy = String::from_utf8_lossy(bytes);
                let replaced = std::str::from_utf8(bytes).is_err();
                let expected = serde_json::to_string(&lossy).unwrap();
                prop_assert_eq!(written(|out| assert_eq!(string(out, bytes), replaced)), expected);
            }
        }

        #[test]
        fn any_double_reads_back_equal(bits: u64) {
            let value = f64::from_bits(bits);
            if value.is_finite() {
                let text = written(|out| double(out, value));
                let back = serde_json::from_str::<serde_json::Value>(&text).unwrap().as_f64().unwrap();
                prop_assert_eq!(back.to_bits(), bits);
            }
        }
    }
}
