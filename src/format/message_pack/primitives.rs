//! MessagePack's own shapes (the MessagePack specification), each number and length in its shortest form.
//!
//! By hand, because writing into a `Vec` cannot fail: the `rmp` crate returns a `Result` for every byte and grows the
//! buffer once for the marker and once for what follows. The tests hold every shape against `rmp`.

/// Lengths fit: a text is at most three times a frame, and a frame is at most 1 GiB.
fn short(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[inline]
pub(super) fn nil(out: &mut Vec<u8>) {
    out.push(0xc0);
}

#[inline]
pub(super) fn boolean(out: &mut Vec<u8>, value: bool) {
    out.push(0xc2 | u8::from(value));
}

#[inline]
pub(super) fn unsigned(out: &mut Vec<u8>, value: u64) {
    match value {
        0..=0x7f => out.push(value as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, value as u8]),
        0x100..=0xffff => head16(out, 0xcd, value as u16),
        0x1_0000..=0xffff_ffff => head32(out, 0xce, value as u32),
        _ => eight(out, 0xcf, value.to_be_bytes()),
    }
}

#[inline]
pub(super) fn integer(out: &mut Vec<u8>, value: i64) {
    match value {
        0.. => unsigned(out, value as u64),
        -0x20..0 => out.push(value as u8),
        -0x80..-0x20 => out.extend_from_slice(&[0xd0, value as u8]),
        -0x8000..-0x80 => head16(out, 0xd1, value as u16),
        -0x8000_0000..-0x8000 => head32(out, 0xd2, value as u32),
        _ => eight(out, 0xd3, value.to_be_bytes()),
    }
}

#[inline]
pub(super) fn double(out: &mut Vec<u8>, value: f64) {
    eight(out, 0xcb, value.to_be_bytes());
}

#[inline]
pub(super) fn text(out: &mut Vec<u8>, value: &str) {
    out.reserve(value.len() + 5);
    match short(value.len()) {
        length @ 0..=31 => out.push(0xa0 | length as u8),
        length @ 32..=0xff => out.extend_from_slice(&[0xd9, length as u8]),
        length @ 0x100..=0xffff => head16(out, 0xda, length as u16),
        length => head32(out, 0xdb, length),
    }
    out.extend_from_slice(value.as_bytes());
}

#[inline]
pub(super) fn binary(out: &mut Vec<u8>, value: &[u8]) {
    out.reserve(value.len() + 5);
    match short(value.len()) {
        length @ 0..=0xff => out.extend_from_slice(&[0xc4, length as u8]),
        length @ 0x100..=0xffff => head16(out, 0xc5, length as u16),
        length => head32(out, 0xc6, length),
    }
    out.extend_from_slice(value);
}

pub(super) fn extension(out: &mut Vec<u8>, kind: i8, value: &[u8]) {
    match short(value.len()) {
        1 => out.push(0xd4),
        2 => out.push(0xd5),
        4 => out.push(0xd6),
        8 => out.push(0xd7),
        16 => out.push(0xd8),
        length @ 0..=0xff => out.extend_from_slice(&[0xc7, length as u8]),
        length @ 0x100..=0xffff => head16(out, 0xc8, length as u16),
        length => head32(out, 0xc9, length),
    }
    out.push(kind as u8);
    out.extend_from_slice(value);
}

#[inline]
pub(super) fn array(out: &mut Vec<u8>, count: u32) {
    match count {
        0..=15 => out.push(0x90 | count as u8),
        16..=0xffff => head16(out, 0xdc, count as u16),
        _ => head32(out, 0xdd, count),
    }
}

#[inline]
pub(super) fn map(out: &mut Vec<u8>, count: u32) {
    match count {
        0..=15 => out.push(0x80 | count as u8),
        16..=0xffff => head16(out, 0xde, count as u16),
        _ => head32(out, 0xdf, count),
    }
}

#[inline]
fn head16(out: &mut Vec<u8>, marker: u8, value: u16) {
    let [a, b] = value.to_be_bytes();
    out.extend_from_slice(&[marker, a, b]);
}

#[inline]
fn head32(out: &mut Vec<u8>, marker: u8, value: u32) {
    let [a, b, c, d] = value.to_be_bytes();
    out.extend_from_slice(&[marker, a, b, c, d]);
}

#[inline]
fn eight(out: &mut Vec<u8>, marker: u8, [a, b, c, d, e, f, g, h]: [u8; 8]) {
    out.extend_from_slice(&[marker, a, b, c, d, e, f, g, h]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What ours and `rmp` write must be the same bytes.
    fn same<M>(ours: impl FnOnce(&mut Vec<u8>), theirs: impl FnOnce(&mut Vec<u8>) -> M) {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        ours(&mut a);
        theirs(&mut b);
        assert_eq!(a, b);
    }

    #[test]
    fn integers_at_the_borders_of_each_form_are_the_shortest() {
        for bits in 0..64 {
            for near in -2..=2 {
                let value = (1u64 << bits).wrapping_add_signed(near);
                same(|out| unsigned(out, value), |out| rmp::encode::write_uint(out, value).unwrap());
                for value in [value as i64, (value as i64).wrapping_neg()] {
                    same(|out| integer(out, value), |out| rmp::encode::write_sint(out, value).unwrap());
                }
            }
        }
    }

    #[test]
    fn lengths_at_the_borders_of_each_form_are_the_shortest() {
        for length in (0..70).chain([254, 255, 256, 257, 65_534, 65_535, 65_536, 65_537]) {
            let (string, bytes) = ("x".repeat(length), vec![7; length]);
            let count = length as u32;
            same(|out| text(out, &string), |out| rmp::encode::write_str(out, &string).unwrap());
            same(|out| binary(out, &bytes), |out| rmp::encode::write_bin(out, &bytes).unwrap());
            same(|out| array(out, count), |out| rmp::encode::write_array_len(out, count).unwrap());
            same(|out| map(out, count), |out| rmp::encode::write_map_len(out, count).unwrap());
            for kind in [0, 23, 127] {
                same(
                    |out| extension(out, kind, &bytes),
                    |out| {
                        rmp::encode::write_ext_meta(out, count, kind).unwrap();
                        out.extend_from_slice(&bytes);
                    },
                );
            }
        }
    }

    proptest! {
        #[test]
        fn any_scalar_is_as_an_independent_writer_writes_it(value: i64, bits: u64, flag: bool) {
            let float = f64::from_bits(bits);
            same(|out| integer(out, value), |out| rmp::encode::write_sint(out, value).unwrap());
            same(|out| double(out, float), |out| rmp::encode::write_f64(out, float).unwrap());
            same(|out| boolean(out, flag), |out| rmp::encode::write_bool(out, flag).unwrap());
            same(nil, |out| rmp::encode::write_nil(out).unwrap());
        }
    }
}
