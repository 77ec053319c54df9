//! `invalid-utf8` and `non-finite-floats` in both JSON formats, wherever text and doubles stand.

use super::*;
use crate::config::model::{InvalidUtf8, TextRules};

const NAN: [u8; 8] = 0x7FF8_0000_0000_0000u64.to_be_bytes();

fn with(invalid_utf8: InvalidUtf8, non_finite_as_null: bool) -> [Formatter; 2] {
    let text = TextRules { invalid_utf8, non_finite_as_null };
    let flat = model::Format::FlatJson { metadata_key: "meta".into(), stringify_map_keys: true, text };
    [Formatter::new(&model::Format::Json { stringify_map_keys: true, text }, LIMITS), Formatter::new(&flat, LIMITS)]
}

/// A write with this namespace, set, user key (type byte first) and ops.
fn message(namespace: &[u8], set: &[u8], key: &[u8], ops: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![22, 0x10, 0x01, 0x10, 0, 0, 0, 0, 0, 1, 255, 255, 255, 255, 0, 0, 0, 0, 0, 4];
    body.extend_from_slice(&(ops.len() as u16).to_be_bytes());
    for (kind, data) in [(0, namespace), (1, set), (2, key), (4, &[0; 20][..])] {
        body.extend_from_slice(&(data.len() as u32 + 1).to_be_bytes());
        body.push(kind);
        body.extend_from_slice(data);
    }
    body.extend(ops.concat());
    body
}

/// Messages with one text that is not UTF-8 (`\xff`), the place that an error names, and what stands before it.
fn one_bad_text() -> Vec<(Vec<u8>, &'static str, &'static [u8])> {
    let sound = |ops: &[Vec<u8>]| message(b"n", b"s", b"\x03k", ops);
    vec![
        (message(b"\xff", b"s", b"\x03k", &[]), "namespace field", b"\0\0\0\x02\0"),
        (message(b"n", b"\xff", b"\x03k", &[]), "set field", b"\0\0\0\x02\x01"),
        (message(b"n", b"s", b"\x03\xff", &[]), "user key field", b"\0\0\0\x03\x02\x03"),
        (sound(&[op(3, b"\xff", b"v")]), "bin \"\\xff\"", b"\x02\x03\0\x01"),
        (sound(&[op(3, b"ok", b"v"), op(3, b"b", b"\xff")]), "bin \"b\"", b"\x02\x03\0\x01b"),
        (sound(&[op(20, b"l", &[0x92, 1, 0xa2, 3, 0xff])]), "bin \"l\"", b"l\x92\x01"),
        (sound(&[op(19, b"m", &[0x81, 0xa2, 3, 0xff, 1])]), "bin \"m\"", b"m\x81"),
        (sound(&[op(19, b"m", &[0x81, 1, 0xa2, 3, 0xff])]), "bin \"m\"", b"m\x81\x01"),
        (sound(&[op(19, b"m", &[0x81, 0x91, 0xa2, 3, 0xff, 1])]), "bin \"m\"", b"m\x81\x91"),
        (sound(&[op(19, b"m", &[0x81, 0xa2, 23, 0xff, 1])]), "bin \"m\"", b"m\x81"),
        (sound(&[op(23, b"g", b"\0\0\0\xff")]), "bin \"g\"", b"\x02\x17\0\x01g"),
        (sound(&[op(20, b"l", &[0x91, 0xa2, 23, 0xff])]), "bin \"l\"", b"l\x91"),
    ]
}

/// The one bad text may be escaped in a name that is a list.
fn occurrences(text: &str, wanted: &str) -> usize {
    text.matches(&format!("\"{wanted}\"")).count() + text.matches(&format!("\\\"{wanted}\\\"")).count()
}

#[test]
fn text_that_is_not_utf8_can_become_base64_wherever_it_stands() {
    for (body, place, _) in one_bad_text() {
        for [mut replacing, mut base64] in [0, 1].map(|at| {
            [InvalidUtf8::Replace, InvalidUtf8::Base64].map(|rule| with(rule, false).into_iter().nth(at).unwrap())
        }) {
            let (text, notes) = encoded(&mut base64, &body).unwrap();
            assert_eq!((occurrences(&text, "/w=="), notes.replaced_text), (1, 1), "{place}: {text}");
            let (with_replacement, same_notes) = encoded(&mut replacing, &body).unwrap();
            assert_eq!(with_replacement.replace('\u{FFFD}', "/w=="), text, "{place}");
            assert_eq!(same_notes, notes, "{place}");
        }
    }
}

#[test]
fn text_that_is_not_utf8_can_be_rejected_with_its_place() {
    for (body, place, before) in one_bad_text() {
        let at = body.windows(before.len()).position(|bytes| bytes == before).unwrap() + before.len();
        // The offset is that of the element in a list or map, of the value in a bin.
        for mut formatter in with(InvalidUtf8::Reject, false) {
            let error = encoded(&mut formatter, &body).unwrap_err();
            assert_eq!((error.fault, error.place.to_string().as_str()), (crate::record::Fault::InvalidText, place));
            assert_eq!(error.offset as usize, at, "{place}");
        }
    }
    let sound = message(b"n", b"s", b"\x04\xff", &[op(3, "ż".as_bytes(), "ó".as_bytes()), op(4, b"b", b"\xff")]);
    for rule in [InvalidUtf8::Reject, InvalidUtf8::Base64] {
        for mut formatter in with(rule, false) {
            assert_eq!(encoded(&mut formatter, &sound).unwrap().1, Notes::default(), "bytes are no text");
        }
    }
}

#[test]
fn bins_whose_names_become_equal_are_one() {
    let body = write(&[op(3, b"\xff", b"1"), op(3, b"/w==", b"2")]);
    for mut formatter in with(InvalidUtf8::Base64, false) {
        let (text, notes) = encoded(&mut formatter, &body).unwrap();
        assert_eq!((occurrences(&text, "/w=="), notes.duplicate_bins, text.contains("\"1\"")), (1, 1, false));
    }
}

#[test]
fn doubles_that_json_has_no_number_for_can_be_null_except_as_keys() {
    let nan = [&[0xcb][..], &NAN].concat();
    let map = [&[0x82][..], &nan, &nan, &[0x91], &nan, &[0x91], &nan].concat();
    let body = message(b"n", b"s", &[&[2][..], &NAN].concat(), &[op(2, b"f", &NAN), op(19, b"m", &map)]);
    let expected = |value: &str| {
        let map = format!(r#"{{"NaN":{value},"[\"NaN\"]":[{value}]}}"#);
        let digest = "AAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        [
            format!(
                r#"{{"msg":"write","key":["n","s","{digest}",{value}],"gen":1,"exp":0,"bins":[{{"name":"f","type":"float","value":{value}}},{{"name":"m","type":"map","value":{map}}}]}}"#
            ),
            format!(
                r#"{{"meta":{{"namespace":"n","set":"s","userKey":{value},"digest":"{digest}","msg":"write","gen":1,"exp":0}},"f":{value},"m":{map}}}"#
            ),
        ]
    };
    for (as_null, value) in [(false, "\"NaN\""), (true, "null")] {
        for (mut formatter, expected) in with(InvalidUtf8::Replace, as_null).into_iter().zip(expected(value)) {
            assert_eq!(encoded(&mut formatter, &body).unwrap().0, expected);
        }
    }
    for value in [f64::INFINITY, f64::NEG_INFINITY, 1.5] {
        let body = write(&[op(2, b"f", &value.to_be_bytes())]);
        let [_, mut flat] = with(InvalidUtf8::Replace, true);
        let null = encoded(&mut flat, &body).unwrap().0.ends_with("\"f\":null}");
        assert_eq!(null, value.is_infinite());
    }
}
