use proptest::prelude::*;

use super::*;
use crate::config::model::Secret;
use crate::record::{Fault, decode};

const LIMITS: DecodeLimits = DecodeLimits { max_depth: 8 };
const DIGEST: [u8; 20] = [0xfb; 20];

/// A message with these fields besides namespace and digest, and these bins.
fn message(info2: u8, fields: &[(u8, &[u8])], bins: &[(&str, u8, &[u8])]) -> Vec<u8> {
    let mut body = vec![22, 0x10, info2, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 60, 0, 0, 0, 0];
    body.extend((fields.len() as u16 + 2).to_be_bytes());
    body.extend((bins.len() as u16).to_be_bytes());
    for (kind, data) in [(0u8, &b"ns 1"[..]), (4, &DIGEST)].into_iter().chain(fields.iter().copied()) {
        body.extend((data.len() as u32 + 1).to_be_bytes());
        body.push(kind);
        body.extend(data);
    }
    for (name, kind, value) in bins {
        body.extend((4 + name.len() as u32 + value.len() as u32).to_be_bytes());
        body.extend([2, *kind, 0, name.len() as u8]);
        body.extend(name.bytes().chain(value.iter().copied()));
    }
    body
}

fn headers(sources: Vec<HeaderValue>) -> Vec<Header> {
    sources.into_iter().map(|value| Header { name: "x".to_owned(), value }).collect()
}

type Texts = Vec<Option<String>>;

fn written(sources: Vec<HeaderValue>, body: &[u8]) -> Result<(Texts, LeftOut), RecordError> {
    let mut out = b"before".to_vec();
    let record = decode(body).unwrap();
    let result = HeaderValues::new(LIMITS).append(&headers(sources), &record, &mut out);
    if result.is_err() {
        assert_eq!(out, b"before");
    }
    let left_out = result?;
    let texts = values(&out[6..]).map(|value| value.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())).collect();
    Ok((texts, left_out))
}

/// What a peer does: each `%` and two digits is a byte.
fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut parts = text.split(|byte| *byte == b'%');
    let mut out = parts.next().unwrap().to_vec();
    for part in parts {
        out.push(u8::from_str_radix(std::str::from_utf8(&part[..2]).unwrap(), 16).unwrap());
        out.extend(&part[2..]);
    }
    out
}

fn bin_text(kind: u8, value: &[u8]) -> Option<String> {
    let body = message(1, &[], &[("b", kind, value)]);
    let (texts, left_out) = written(vec![HeaderValue::Bin("b".to_owned())], &body).unwrap();
    assert_eq!(left_out.absent + left_out.too_long, u32::from(texts[0].is_none()));
    texts[0].clone()
}

#[test]
fn metadata_is_written_in_the_order_of_the_headers() {
    let lut = 471_538_166_168u64.to_be_bytes();
    let key = [&[1][..], &(-5i64).to_be_bytes()].concat();
    let body = message(1, &[(1, b"s%t"), (2, &key), (14, &lut)], &[]);
    let all = vec![
        HeaderValue::Static(Secret("fixed".to_owned())),
        HeaderValue::Digest,
        HeaderValue::Namespace,
        HeaderValue::Env("E".to_owned(), Secret("fixed".to_owned())),
        HeaderValue::Set,
        HeaderValue::UserKey,
        HeaderValue::LastUpdate,
        HeaderValue::Generation,
        HeaderValue::Operation,
    ];
    let (texts, left_out) = written(all, &body).unwrap();
    let expected = ["+/v7+/v7+/v7+/v7+/v7+/v7+/s=", "ns 1", "s%25t", "-5", "1733842166168", "7", "write"];
    assert_eq!(texts.into_iter().map(Option::unwrap).collect::<Vec<_>>(), expected);
    assert_eq!(left_out, LeftOut::default());
}

#[test]
fn what_a_record_does_not_have_is_absent_and_counted() {
    let mut body = message(0x13, &[(1, b"")], &[("nil", 0, b""), ("empty", 3, b"")]);
    body[9] = 0;
    let bin = |name: &str| HeaderValue::Bin(name.to_owned());
    let all = vec![
        HeaderValue::Set,
        HeaderValue::UserKey,
        HeaderValue::LastUpdate,
        HeaderValue::Generation,
        bin("nil"),
        bin("empty"),
        bin("none"),
        HeaderValue::Operation,
    ];
    let (texts, left_out) = written(all, &body).unwrap();
    assert!(texts[..7].iter().all(Option::is_none));
    assert_eq!(texts[7].as_deref(), Some("delete"));
    assert_eq!(left_out, LeftOut { absent: 7, too_long: 0 });
}

#[test]
fn keys_of_every_type() {
    let double = 1.5f64.to_be_bytes();
    let cases: [(u8, &[u8], Option<&str>); 5] = [
        (2, &double, Some("1.5")),
        (3, "käse 1".as_bytes(), Some("k%C3%A4se 1")),
        (3, b"", None),
        (4, b"\xff", Some("/w==")),
        (4, b"", None),
    ];
    for (kind, value, expected) in cases {
        let key = [&[kind][..], value].concat();
        let body = message(1, &[(2, &key)], &[]);
        assert_eq!(written(vec![HeaderValue::UserKey], &body).unwrap().0[0].as_deref(), expected);
    }
}

#[test]
fn bins_of_every_type() {
    let cases: [(u8, &[u8], &str); 16] = [
        (1, &i64::MIN.to_be_bytes(), "-9223372036854775808"),
        (2, &0.1f64.to_be_bytes(), "0.1"),
        (2, &1e21f64.to_be_bytes(), "1e+21"),
        (2, &f64::NAN.to_be_bytes(), "NaN"),
        (2, &f64::NEG_INFINITY.to_be_bytes(), "-Infinity"),
        (17, &[1], "true"),
        (17, &[0], "false"),
        (3, b"a, \"b\"", "a, \"b\""),
        (4, b"fo", "Zm8="),
        (7, b"fo", "Zm8="),
        (18, b"fo", "Zm8="),
        (99, b"fo", "Zm8="),
        (23, b"\0\0\0{\"type\": \"Point\"}\n", "{\"type\": \"Point\"}%0A"),
        (20, &[0x93, 1, 0xc0, 0xa3, 3, b'a', b' '], "[1,null,\"a \"]"),
        (20, &[0x90], "[]"),
        (19, &[0x81, 0xa2, 3, b'k', 0xc3], "{\"k\":true}"),
    ];
    for (kind, value, expected) in cases {
        assert_eq!(bin_text(kind, value).as_deref(), Some(expected));
    }
}

#[test]
fn the_last_bin_of_a_name_counts() {
    let body = message(1, &[], &[("b", 3, b"one"), ("a", 3, b"x"), ("b", 3, b"two")]);
    assert_eq!(written(vec![HeaderValue::Bin("b".to_owned())], &body).unwrap().0, [Some("two".to_owned())]);
}

#[test]
fn a_bin_that_cannot_be_read_is_an_error_that_names_it() {
    let deep = [0x91; 9];
    let cases: [(u8, &[u8], Fault); 3] = [
        (20, &[0x92, 1], Fault::CdtTruncated),
        (20, &deep, Fault::TooDeep(8)),
        (1, &[1, 2, 3], Fault::ParticleSize { kind: crate::record::ParticleType(1), is: 3, expected: "8, 4, 2 or 1" }),
    ];
    for (kind, value, fault) in cases {
        let body = message(1, &[], &[("b", kind, value)]);
        let sources = vec![HeaderValue::Namespace, HeaderValue::Bin("b".to_owned())];
        let error = written(sources, &body).unwrap_err();
        assert_eq!(error.fault, fault);
        assert!(error.to_string().starts_with("bin \"b\" at byte"), "{error}");
    }
}

#[test]
fn spaces_stay_only_where_they_are_safe() {
    let cases = [
        ("a b", "a b"),
        ("a  b", "a%20%20b"),
        (" a b ", "%20a b%20"),
        (" ", "%20"),
        ("a\tb", "a%09b"),
        ("a\u{1}  \r\nb", "a%01%20%20%0D%0Ab"),
        ("100%", "100%25"),
        ("\u{7f}", "%7F"),
    ];
    for (text, expected) in cases {
        assert_eq!(bin_text(3, text.as_bytes()).as_deref(), Some(expected));
    }
}

#[test]
fn a_value_that_is_too_long_is_left_out_and_counted() {
    let limit = MAX_HEADER_VALUE;
    let cases = [
        (3, vec![b'a'; limit], true),
        (3, vec![b'a'; limit + 1], false),
        (3, vec![b'%'; limit / 3], true),
        (3, vec![b'%'; limit / 3 + 1], false),
        (4, vec![0; 3 * limit / 4], true),
        (4, vec![0; 3 * limit / 4 + 1], false),
        (4, vec![0; 1 << 20], false),
    ];
    for (kind, value, fits) in cases {
        let body = message(1, &[], &[("b", kind, &value)]);
        let sources = vec![HeaderValue::Bin("b".to_owned()), HeaderValue::Generation];
        let (texts, left_out) = written(sources, &body).unwrap();
        assert_eq!((texts[0].is_some(), texts[1].as_deref()), (fits, Some("7")));
        assert_eq!(left_out, LeftOut { absent: 0, too_long: u32::from(!fits) });
    }
    let list = [&[0xdc, 0xff, 0xff][..], &[1; 65_535]].concat();
    assert_eq!(bin_text(20, &list), None);
}

#[test]
fn what_was_read_back_ends_where_it_is_cut_off() {
    let body = message(1, &[], &[]);
    let mut out = Vec::new();
    let list = headers(vec![HeaderValue::Namespace, HeaderValue::Set, HeaderValue::Generation]);
    HeaderValues::new(LIMITS).append(&list, &decode(&body).unwrap(), &mut out).unwrap();
    assert_eq!(spans(&out).collect::<Vec<_>>(), [Some(2..6), None, Some(10..11)]);
    for cut in 0..out.len() {
        let mut found = spans(&out[..cut]);
        assert!(found.by_ref().count() < 3 && found.next().is_none());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_header_and_decode_to_what_they_were(bytes in prop::collection::vec(any::<u8>(), 0..64), spaced in "[ a%\t]{0,9}") {
        for original in [&bytes[..], spaced.as_bytes()] {
            let text = bin_text(3, original);
            prop_assert_eq!(text.is_none(), original.is_empty());
            let text = text.unwrap_or_default();
            let header = http::HeaderValue::from_bytes(text.as_bytes()).unwrap();
            prop_assert_eq!(header.to_str().unwrap(), &text);
            prop_assert_eq!(text.trim(), &text);
            prop_assert!(!text.contains("  ") && text.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
            prop_assert_eq!(percent_decoded(text.as_bytes()), original);
        }
    }

    #[test]
    fn any_value_of_any_type_is_a_header_or_an_error(kind in 0u8..30, value in prop::collection::vec(any::<u8>(), 0..40)) {
        let body = message(1, &[], &[("b", kind, &value)]);
        if let Ok((texts, _)) = written(vec![HeaderValue::Bin("b".to_owned())], &body) {
            let text = texts[0].clone().unwrap_or_default();
            prop_assert!(http::HeaderValue::from_bytes(text.as_bytes()).is_ok());
        }
    }

    #[test]
    fn any_bytes_are_read_back_without_a_panic(bytes: Vec<u8>) {
        let read: usize = values(&bytes).map(|value| 2 + value.map_or(0, <[u8]>::len)).sum();
        prop_assert!(read <= bytes.len());
    }
}
