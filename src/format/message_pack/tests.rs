use super::super::tests::{ARRIVAL, LIMITS, op, write};
use super::super::{ContentType, Formatter};
use super::*;
use crate::config::model::Format;
use crate::record::decode;
use proptest::prelude::*;
use rmpv::Value;

fn formatter(delete_metadata: bool, invalid_utf8: InvalidUtf8) -> Formatter {
    Formatter::new(&Format::MessagePack { delete_metadata, invalid_utf8 }, LIMITS)
}

fn encoded_by(rule: InvalidUtf8, body: &[u8]) -> Result<(Value, Notes), RecordError> {
    let (mut out, mut notes) = (b"before".to_vec(), Notes::default());
    let result = formatter(false, rule).encode(&decode(body).unwrap(), ARRIVAL, &mut out, &mut notes);
    let mut written = out.strip_prefix(b"before").unwrap();
    if let Err(error) = result {
        assert_eq!((written, notes), (&b""[..], Notes::default()));
        return Err(error);
    }
    let value = rmpv::decode::read_value(&mut written).unwrap();
    assert!(written.is_empty());
    Ok((value, notes))
}

/// The bins of a write with these ops.
fn bins(ops: &[Vec<u8>]) -> (Vec<Value>, Notes) {
    let (value, notes) = encoded_by(InvalidUtf8::Replace, &write(ops)).unwrap();
    (value[2][4].as_array().unwrap().clone(), notes)
}

fn bin(name: &str, kind: u8, flags: u8, value: Value) -> Value {
    Value::Array(vec![name.into(), kind.into(), flags.into(), value])
}

fn ext(kind: i8, bytes: &[u8]) -> Value {
    Value::Ext(kind, bytes.to_vec())
}

/// Byte by byte, against the specification of MessagePack and the table of esp-connector.md 5.6.
#[test]
fn a_write_has_the_documented_bytes() {
    let body = write(&[op(1, b"i", &300u64.to_be_bytes()), op(4, b"b", b"\xff")]);
    let mut out = Vec::new();
    let mut formatter = formatter(false, InvalidUtf8::Replace);
    assert_eq!(formatter.content_type(), ContentType::MessagePack);
    formatter.encode(&decode(&body).unwrap(), ARRIVAL, &mut out, &mut Notes::default()).unwrap();
    let expected = [
        &b"\x93\x01\x01\x95"[..],
        b"\x94\xa2ns\xc0\xc4\x14",
        &[0; 20],
        b"\xc0",
        b"\x01\x00\xc0",
        b"\x92\x94\xa1i\x01\x00\xcd\x01\x2c\x94\xa1b\x04\x00\xc4\x01\xff",
    ];
    assert_eq!(out, expected.concat());
}

#[test]
fn every_type_has_its_number_flags_and_value() {
    let ops = [
        op(0, b"n", b""),
        op(1, b"i", &(-5i64).to_be_bytes()),
        op(2, b"f", &0.5f64.to_be_bytes()),
        op(3, b"s", "ż".as_bytes()),
        op(4, b"b", b"f"),
        op(7, b"j", b"fo"),
        op(12, b"e", b"fo"),
        op(16, b"v", b"foo"),
        op(17, b"t", &[2]),
        op(18, b"h", b"foob"),
        op(99, b"u", b"foo"),
        op(200, b"w", b"foo"),
        op(20, b"l", &[0x91, 1]),
        op(20, b"lo", &[0x91, 0xc7, 0, 1]),
        op(19, b"m", &[0x80]),
        op(19, b"mk", &[0x81, 0xc7, 0, 1, 0xc0]),
        op(19, b"mkv", &[0x82, 0xc7, 0, 3, 0xc0, 1, 2]),
        op(23, b"g", b"\x00\x00\x01\0\0\0\0\0\0\0\x09{ \"type\": 1 }"),
    ];
    let array = |items: &[i64]| Value::Array(items.iter().map(|item| (*item).into()).collect());
    let binary = |bytes: &[u8]| Value::Binary(bytes.to_vec());
    let expected = vec![
        bin("n", 0, 0, Value::Nil),
        bin("i", 1, 0, (-5).into()),
        bin("f", 2, 0, Value::F64(0.5)),
        bin("s", 3, 0, "ż".into()),
        bin("b", 4, 0, binary(b"f")),
        bin("j", 7, 0, binary(b"fo")),
        bin("e", 12, 0, binary(b"fo")),
        bin("v", 16, 0, binary(b"foo")),
        bin("t", 17, 0, true.into()),
        bin("h", 18, 0, binary(b"foob")),
        bin("u", 99, 0, binary(b"foo")),
        bin("w", 200, 0, binary(b"foo")),
        bin("l", 20, 0, array(&[1])),
        bin("lo", 20, 1, array(&[])),
        bin("m", 19, 0, Value::Map(vec![])),
        bin("mk", 19, 1, Value::Map(vec![])),
        bin("mkv", 19, 3, Value::Map(vec![(1.into(), 2.into())])),
        bin("g", 23, 0, "{ \"type\": 1 }".into()),
    ];
    let (found, notes) = bins(&ops);
    assert_eq!(found, expected);
    assert_eq!(notes, Notes { unknown_particles: 2, ..Notes::default() });
}

#[test]
fn values_inside_collections_keep_their_types_and_maps_take_any_key() {
    let list = [
        &[0x9a][..],
        &[0xa2, 3, b's', 0xa2, 4, b'b', 0xa2, 7, b'j', 0xa3, 18, b'h', b'h', 0xa2, 99, b'u', 0xa2, 200, b'w'],
        &[0xa3, 23, b'{', b'}', 0xa0, 0xca, 0x3f, 0xc0, 0, 0, 0xc0],
    ];
    let (found, notes) = bins(&[op(20, b"l", &list.concat())]);
    let binary = |bytes: &[u8]| Value::Binary(bytes.to_vec());
    let expected = vec![
        "s".into(),
        binary(b"b"),
        ext(7, b"j"),
        ext(18, b"hh"),
        ext(99, b"u"),
        binary(b"w"),
        ext(23, b"{}"),
        binary(b""),
        Value::F64(1.5),
        Value::Nil,
    ];
    assert_eq!((found, notes), (vec![bin("l", 20, 0, Value::Array(expected))], Notes::default()));

    let map = [0x85, 0x92, 1, 0x80, 0x91, 7, 0xc2, 1, 0xc0, 2, 0xa2, 4, b'k', 3, 1, 0x81, 0xa2, 3, b'x', 0xff];
    let (found, _) = bins(&[op(19, b"m", &map)]);
    let expected = Value::Map(vec![
        (Value::Array(vec![1.into(), Value::Map(vec![])]), Value::Array(vec![7.into()])),
        (false.into(), 1.into()),
        (Value::Nil, 2.into()),
        (binary(b"k"), 3.into()),
        (1.into(), Value::Map(vec![("x".into(), (-1).into())])),
    ]);
    assert_eq!(found, [bin("m", 19, 0, expected)]);
}

#[test]
fn deletes_have_flags_and_on_request_generation_and_lut() {
    let mut body = write(&[]);
    for (info2, flags) in [(0x03, 0), (0x13, 1)] {
        for generation in [0, 300] {
            body[2] = info2;
            body[6..10].copy_from_slice(&u32::to_be_bytes(generation));
            let key = Value::Array(vec!["ns".into(), Value::Nil, Value::Binary(vec![0; 20]), Value::Nil]);
            let written = if generation == 0 { Value::Nil } else { generation.into() };
            let short = vec![key, flags.into()];
            let long = [&short[..], &[written, Value::Nil]].concat();
            for (delete_metadata, payload) in [(false, short), (true, long)] {
                let mut out = Vec::new();
                let mut formatter = formatter(delete_metadata, InvalidUtf8::Replace);
                formatter.encode(&decode(&body).unwrap(), ARRIVAL, &mut out, &mut Notes::default()).unwrap();
                let expected = Value::Array(vec![1.into(), 2.into(), Value::Array(payload)]);
                assert_eq!(rmpv::decode::read_value(&mut &out[..]).unwrap(), expected);
            }
        }
    }
}

#[test]
fn of_bins_with_the_same_name_the_last_stays_and_the_count_is_right() {
    let value = |text: &[u8]| op(3, b"a", text);
    let (found, notes) = bins(&[value(b"1"), op(3, b"b", b"2"), value(b"3")]);
    assert_eq!((found, notes.duplicate_bins), (vec![bin("b", 3, 0, "2".into()), bin("a", 3, 0, "3".into())], 1));
    // Names that differ as bytes and not as text.
    let (found, notes) = bins(&[op(3, b"\xff", b"1"), op(3, b"\xfe", b"2")]);
    assert_eq!((found, notes.duplicate_bins), (vec![bin("\u{FFFD}", 3, 0, "2".into())], 1));
    // The head of the array becomes shorter; names of every length of head, which differ in their last byte. A byte that
    // is not UTF-8 becomes three, so that a name can have more than 255.
    for (fill, length) in [(b'x', 1), (b'x', 31), (b'x', 32), (b'x', 255), (0xff, 200)] {
        let name = |last: u8| [&vec![fill; length - 1][..], &[last]].concat();
        let ops: Vec<_> = (b'a'..=b'i').chain(b'a'..=b'i').map(|last| op(1, &name(last), &[0; 8])).collect();
        let (found, notes) = bins(&ops);
        assert_eq!((found.len(), notes.duplicate_bins), (9, 9), "{length}");
    }
    let many: Vec<_> = (0..32_768).map(|at: u32| op(1, (at % 16_384).to_string().as_bytes(), &[0; 8])).collect();
    let (found, notes) = bins(&many);
    assert_eq!((found.len(), notes.duplicate_bins), (16_384, 16_384));
}

#[test]
fn text_that_is_not_utf8_follows_the_rule() {
    let ops =
        [op(3, b"\xff", b"\xfe"), op(19, b"m", &[0x81, 0xa2, 3, 0xfe, 0xa2, 3, 0xff]), op(23, b"g", b"\0\0\0\xff")];
    let expected = |a: &str, b: &str| {
        vec![bin(b, 3, 0, a.into()), bin("m", 19, 0, Value::Map(vec![(a.into(), b.into())])), bin("g", 23, 0, b.into())]
    };
    for (rule, a, b) in [(InvalidUtf8::Replace, "\u{FFFD}", "\u{FFFD}"), (InvalidUtf8::Base64, "/g==", "/w==")] {
        let (value, notes) = encoded_by(rule, &write(&ops)).unwrap();
        assert_eq!((value[2][4].as_array(), notes.replaced_text), (Some(&expected(a, b)), 5));
    }
    // An extension is bytes, so that nothing is wrong with it.
    let extension = op(20, b"l", &[0x91, 0xa2, 23, 0xff]);
    let (value, notes) = encoded_by(InvalidUtf8::Reject, &write(std::slice::from_ref(&extension))).unwrap();
    assert_eq!((&value[2][4][0][3][0], notes), (&ext(23, b"\xff"), Notes::default()));
    let mut body = write(&ops);
    let namespace = body.windows(2).position(|bytes| bytes == b"ns").unwrap();
    for (op, place) in ops.iter().zip(["bin \"\\xff\"", "bin \"m\"", "bin \"g\""]) {
        let error = encoded_by(InvalidUtf8::Reject, &write(std::slice::from_ref(op))).unwrap_err();
        assert_eq!((error.fault, error.place.to_string().as_str()), (Fault::InvalidText, place));
    }
    body[namespace] = 0xff;
    let error = encoded_by(InvalidUtf8::Reject, &body).unwrap_err();
    assert_eq!((error.place.to_string().as_str(), error.offset as usize), ("namespace field", namespace));
}

#[test]
fn nesting_has_its_limit_and_a_fault_leaves_everything_as_it_was() {
    let nested = |depth: usize| op(20, b"l", &[&vec![0x91; depth - 1][..], &[0x90]].concat());
    assert!(encoded_by(InvalidUtf8::Replace, &write(&[nested(256)])).is_ok());
    let error = encoded_by(InvalidUtf8::Replace, &write(&[nested(257)])).unwrap_err();
    assert_eq!(error.fault, Fault::TooDeep(256));
    for bad in [op(1, b"i", &[1, 2, 3]), op(20, b"l", &[0x93, 1, 0x81, 1]), op(20, b"l", &[0x90, 0])] {
        assert!(encoded_by(InvalidUtf8::Replace, &write(&[op(3, b"\xff", b"\xff"), bad])).is_err());
    }
}

/// Bytes that are lists and maps more often than not.
fn cdt() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => any::<u8>(),
        6 => prop_oneof![0x80..=0x84u8, 0x90..=0x94u8, 0xa0..=0xa4u8, 0xc0..=0xcbu8, 0xd0..=0xdfu8, 0..4u8],
    ];
    (prop_oneof![0x80..=0x86u8, 0x90..=0x96u8], prop::collection::vec(byte, 0..40))
        .prop_map(|(first, rest)| [&[first][..], &rest].concat())
}

/// Cuts `bytes` at the end of its first value, so that most of what is tried is not refused for what is behind it.
fn first_value(bytes: &[u8]) -> &[u8] {
    let mut reader = crate::wire::reader::Reader::new(bytes);
    match cdt::skip_value(&mut reader) {
        Ok(()) => &bytes[..bytes.len() - reader.rest().len()],
        Err(_) => bytes,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]
    #[test]
    fn whatever_stands_in_a_collection_is_written_whole_or_refused(bytes in cdt()) {
        for bytes in [&bytes[..], first_value(&bytes)] {
            let kind = if bytes[0] < 0x90 { 19 } else { 20 };
            let body = write(&[op(kind, b"c", bytes), op(1, b"behind", &[0, 0, 0, 0, 0, 0, 0, 7])]);
            let flat = Format::FlatJson { metadata_key: "m".into(), stringify_map_keys: true, text: Default::default() };
            let json = Formatter::new(&flat, LIMITS).encode(
                &decode(&body).unwrap(),
                ARRIVAL,
                &mut Vec::new(),
                &mut Notes::default(),
            );
            // JSON alone has a limit on keys inside keys.
            let json = json.err().filter(|error| !matches!(error.fault, Fault::KeyNesting(_)));
            match encoded_by(InvalidUtf8::Replace, &body) {
                Ok((value, _)) => {
                    prop_assert_eq!(&value[2][4][1], &bin("behind", 1, 0, 7.into()));
                    prop_assert_eq!(json, None);
                }
                Err(error) => prop_assert!(json.is_none_or(|json| json == error)),
            }
        }
    }
}
