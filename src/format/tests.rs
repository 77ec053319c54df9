use super::*;
use crate::record::decode;

mod text_rules;

pub(super) const LIMITS: DecodeLimits = DecodeLimits { max_depth: 256 };
pub(super) const ARRIVAL: u64 = 1_700_000_000_500;

fn flat() -> Formatter {
    Formatter::new(
        &model::Format::FlatJson { metadata_key: "meta".into(), stringify_map_keys: true, text: Default::default() },
        LIMITS,
    )
}

fn typed() -> Formatter {
    Formatter::new(&model::Format::Json { stringify_map_keys: true, text: Default::default() }, LIMITS)
}

pub(super) fn op(kind: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = (4 + name.len() as u32 + value.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(&[2, kind, 0, name.len() as u8]);
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(value);
    bytes
}

/// A write in namespace `ns` with a digest of zeroes and these ops, generation 1, no expiry.
pub(super) fn write(ops: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![22, 0x10, 0x01, 0x10, 0, 0, 0, 0, 0, 1, 255, 255, 255, 255, 0, 0, 0, 0, 0, 2];
    body.extend_from_slice(&(ops.len() as u16).to_be_bytes());
    body.extend_from_slice(b"\x00\x00\x00\x03\x00ns\x00\x00\x00\x15\x04");
    body.extend_from_slice(&[0; 20]);
    body.extend(ops.concat());
    body
}

fn encoded(formatter: &mut Formatter, body: &[u8]) -> Result<(String, Notes), RecordError> {
    let (mut out, mut notes) = (b"before".to_vec(), Notes::default());
    let result = formatter.encode(&decode(body).unwrap(), ARRIVAL, &mut out, &mut notes);
    let text = String::from_utf8(out).unwrap();
    let written = text.strip_prefix("before").unwrap();
    result.map(|()| (written.to_owned(), notes)).inspect_err(|_| assert_eq!((written, notes), ("", Notes::default())))
}

const FLAT_HEAD: &str =
    r#"{"meta":{"namespace":"ns","digest":"AAAAAAAAAAAAAAAAAAAAAAAAAAA=","msg":"write","gen":1,"exp":0}"#;
const TYPED_HEAD: &str =
    r#"{"msg":"write","key":["ns",null,"AAAAAAAAAAAAAAAAAAAAAAAAAAA=",null],"gen":1,"exp":0,"bins":["#;

/// The bins of a flat JSON body that has the usual metadata.
fn flat_bins(ops: &[Vec<u8>]) -> (String, Notes) {
    let (text, notes) = encoded(&mut flat(), &write(ops)).unwrap();
    (text.strip_prefix(FLAT_HEAD).unwrap().to_owned(), notes)
}

fn map(bytes: &[u8]) -> (String, Notes) {
    let (text, notes) = flat_bins(&[op(19, b"m", bytes)]);
    (text.strip_prefix(",\"m\":").unwrap().strip_suffix('}').unwrap().to_owned(), notes)
}

/// The record of the typed JSON that an Aerospike connector was seen to write (esp-connector.md 5.3), as a message.
#[test]
fn typed_json_is_what_the_official_connector_was_seen_to_write() {
    let mut body = vec![22, 0x10, 0x01, 0x10, 0, 0, 0, 0, 0, 1, 255, 255, 255, 255, 0, 0, 0, 0, 0, 3, 0, 2];
    body.extend_from_slice(b"\x00\x00\x00\x05\x00test\x00\x00\x00\x15\x04");
    body.extend_from_slice(&base64_simd::STANDARD.decode_to_vec("2EpRiyMMVhOf6nV4XBr/PFofZBY=").unwrap());
    body.extend_from_slice(b"\x00\x00\x00\x09\x0e");
    body.extend_from_slice(&(1_635_778_671_921u64 - 1_262_304_000_000).to_be_bytes());
    body.extend(op(3, b"a", b"aaa"));
    body.extend(op(1, b"b", &124u64.to_be_bytes()));
    let expected = r#"{"msg":"write","key":["test",null,"2EpRiyMMVhOf6nV4XBr/PFofZBY=",null],"gen":1,"exp":0,"lut":1635778671921,"bins":[{"name":"a","type":"str","value":"aaa"},{"name":"b","type":"int","value":124}]}"#;
    assert_eq!(encoded(&mut typed(), &body).unwrap().0, expected);
}

/// The write and the delete that Kafka outbound 5.1.2 was seen to write (esp-connector.md 5.4); ours adds `durable`.
#[test]
fn flat_json_is_what_the_official_connector_was_seen_to_write() {
    let mut body = vec![22, 0x10, 0x01, 0x10, 0, 0, 0, 0, 0, 1, 0, 0, 0, 60, 0, 0, 0, 0, 0, 5, 0, 1];
    body.extend_from_slice(
        b"\x00\x00\x00\x05\x00test\x00\x00\x00\x05\x01demo\x00\x00\x00\x0a\x02\x01\0\0\0\0\0\0\0\x7b",
    );
    body.extend_from_slice(b"\x00\x00\x00\x15\x04");
    body.extend_from_slice(&base64_simd::STANDARD.decode_to_vec("WVp7Y+sYXb69hCVTpEgCsaMOwVk=").unwrap());
    body.extend_from_slice(b"\x00\x00\x00\x09\x0e");
    let lut = body.len();
    body.extend_from_slice(&(1_698_643_762_073u64 - 1_262_304_000_000).to_be_bytes());
    let ops = body.len();
    body.extend(op(3, b"tval", b"..."));
    let mut formatter = Formatter::new(
        &model::Format::FlatJson {
            metadata_key: "metadata".into(),
            stringify_map_keys: true,
            text: Default::default(),
        },
        LIMITS,
    );
    let mut out = Vec::new();
    let mut notes = Notes::default();
    formatter.encode(&decode(&body).unwrap(), 1_698_643_762_999, &mut out, &mut notes).unwrap();
    let expected = r#"{"metadata":{"namespace":"test","set":"demo","userKey":123,"digest":"WVp7Y+sYXb69hCVTpEgCsaMOwVk=","msg":"write","gen":1,"lut":1698643762073,"exp":1698643822},"tval":"..."}"#;
    assert_eq!(String::from_utf8(out).unwrap(), expected);

    body.truncate(ops);
    (body[2], body[9], body[21]) = (0x03, 2, 0);
    body[lut..].copy_from_slice(&(1_698_643_829_757u64 - 1_262_304_000_000).to_be_bytes());
    let mut out = Vec::new();
    formatter.encode(&decode(&body).unwrap(), 1_698_643_829_999, &mut out, &mut notes).unwrap();
    let expected = r#"{"metadata":{"namespace":"test","set":"demo","userKey":123,"digest":"WVp7Y+sYXb69hCVTpEgCsaMOwVk=","msg":"delete","gen":2,"lut":1698643829757,"durable":false}}"#;
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    body[2] = 0x13;
    let (text, _) = encoded(&mut typed(), &body).unwrap();
    let expected = r#"{"msg":"delete","key":["test","demo","WVp7Y+sYXb69hCVTpEgCsaMOwVk=",123],"gen":2,"lut":1698643829757,"durable":true}"#;
    assert_eq!(text, expected);
}

#[test]
fn typed_json_names_every_type_and_the_order_of_collections() {
    let ops = [
        op(0, b"n", b""),
        op(2, b"f", &0.5f64.to_be_bytes()),
        op(17, b"t", &[2]),
        op(4, b"b", b"f"),
        op(7, b"j", b"fo"),
        op(99, b"u", b"foo"),
        op(18, b"h", b"foob"),
        op(20, b"l", &[0x91, 1]),
        op(20, b"lo", &[0x91, 0xc7, 0, 1]),
        op(19, b"m", &[0x80]),
        op(19, b"mk", &[0x81, 0xc7, 0, 1, 0xc0]),
        op(19, b"mkv", &[0x82, 0xc7, 0, 3, 0xc0, 1, 2]),
        op(23, b"g", b"\x00\x00\x00 { \"type\": \"Point\" } "),
    ];
    let expected = [
        TYPED_HEAD,
        r#"{"name":"n","type":"nil","value":null},{"name":"f","type":"float","value":0.5},"#,
        r#"{"name":"t","type":"bool","value":true},{"name":"b","type":"blob","value":"Zg=="},"#,
        r#"{"name":"j","type":"blob","value":"Zm8="},{"name":"u","type":"blob","value":"Zm9v"},"#,
        r#"{"name":"h","type":"hll","value":"Zm9vYg=="},{"name":"l","type":"list","value":[1],"ordered":false},"#,
        r#"{"name":"lo","type":"list","value":[],"ordered":true},{"name":"m","type":"map","value":{}},"#,
        r#"{"name":"mk","type":"map","value":{},"order":"key"},"#,
        r#"{"name":"mkv","type":"map","value":{"1":2},"order":"key-value"},"#,
        r#"{"name":"g","type":"geojson","value":{"type":"Point"}}]}"#,
    ];
    let (text, notes) = encoded(&mut typed(), &write(&ops)).unwrap();
    assert_eq!(text, expected.concat());
    assert_eq!(notes, Notes { unknown_particles: 1, ..Notes::default() });
    assert_eq!(encoded(&mut typed(), &write(&[])).unwrap().0, [TYPED_HEAD, "]}"].concat());
    assert_eq!(flat_bins(&[]).0, "}");
}

#[test]
fn of_bins_with_the_same_name_the_last_stays() {
    let ops = [op(3, b"a", b"1"), op(3, b"b", b"2"), op(3, b"a", b"3")];
    let (text, notes) = flat_bins(&ops);
    assert_eq!((text.as_str(), notes.duplicate_bins), (r#","b":"2","a":"3"}"#, 1));
    let (text, notes) = encoded(&mut typed(), &write(&ops)).unwrap();
    let bins = r#"{"name":"b","type":"str","value":"2"},{"name":"a","type":"str","value":"3"}]}"#;
    assert_eq!((text, notes.duplicate_bins), ([TYPED_HEAD, bins].concat(), 1));
    // Names that differ as bytes, and are the same as text.
    let (text, notes) = flat_bins(&[op(3, b"\xff", b"1"), op(3, b"\xfe", b"2")]);
    assert_eq!((text.as_str(), notes.duplicate_bins, notes.replaced_text), (",\"\u{FFFD}\":\"2\"}", 1, 2));
}

#[test]
fn very_many_bins_are_quick_whatever_their_names() {
    let ops: Vec<_> = (0..32_768).map(|at: u32| op(1, (at % 16_384).to_string().as_bytes(), &[0; 8])).collect();
    for mut formatter in [flat(), typed()] {
        let (text, notes) = encoded(&mut formatter, &write(&ops)).unwrap();
        assert_eq!(notes.duplicate_bins, 16_384);
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
    }
}

#[test]
fn a_bin_named_like_the_metadata_gives_way() {
    let (text, notes) = flat_bins(&[op(3, b"meta", b"1"), op(3, b"met", b"2")]);
    assert_eq!((text.as_str(), notes.dropped_bins), (r#","met":"2"}"#, 1));
    assert_eq!(flat_bins(&[op(3, b"meta", b"1")]).0, "}");
}

#[test]
fn map_keys_of_every_type_become_names() {
    let bytes = [
        &[0x89][..],
        &[0xa2, 3, b'"'],
        &[1],
        &[0xff],
        &[1],
        &[0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0],
        &[1],
        &[0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0],
        &[1],
        &[0xc3],
        &[1],
        &[0xc0],
        &[1],
        &[0xa2, 4, b'f'],
        &[1],
        &[0x92, 1, 0xa2, 3, b'x'],
        &[0x91, 7],
        &[0x81, 0xa2, 3, b'k', 0x80],
        &[2],
    ];
    let expected = r#"{"\"":1,"-1":1,"1.5":1,"Infinity":1,"true":1,"null":1,"Zg==":1,"[1,\"x\"]":[7],"{\"k\":{}}":2}"#;
    assert_eq!(map(&bytes.concat()), (expected.into(), Notes::default()));
    let geo = [&[0x82, 0xa4, 23][..], b"{ }", &[1, 0xa2, 23, b'x', 2]].concat();
    let (text, notes) = map(&geo);
    assert_eq!((text.as_str(), notes.invalid_geojson), (r#"{"{}":1,"\"x\"":2}"#, 1));
}

#[test]
fn of_map_keys_with_the_same_text_the_last_stays() {
    let (text, notes) = map(&[0x84, 1, 10, 0xa2, 3, b'1', 11, 2, 12, 0xa2, 3, b'3', 13]);
    assert_eq!((text.as_str(), notes.map_key_clashes), (r#"{"1":11,"2":12,"3":13}"#, 1));
    // In an inner map, and with a list as the key.
    let (text, notes) =
        map(&[0x82, 0x91, 1, 0x82, 5, 6, 5, 7, 0x91, 1, 0x82, 0xc0, 1, 0xa5, 3, b'n', b'u', b'l', b'l', 2]);
    assert_eq!((text.as_str(), notes.map_key_clashes), (r#"{"[1]":{"null":2}}"#, 3));
}

#[test]
fn keys_inside_keys_cannot_make_the_text_explode() {
    let nested = |depth: usize| [&vec![0x81; depth + 1][..], &[1], &vec![2; depth + 1]].concat();
    assert_eq!(map(&nested(1)).0, r#"{"{\"1\":2}":2}"#);
    serde_json::from_str::<serde_json::Value>(&map(&nested(4)).0).unwrap();
    let error = encoded(&mut flat(), &write(&[op(19, b"m", &nested(5))])).unwrap_err();
    assert_eq!(error.fault, crate::record::Fault::KeyNesting(5));
    assert!(encoded(&mut flat(), &write(&[op(19, b"m", &nested(200))])).is_err());
}

#[test]
fn geojson_that_is_not_json_is_a_string() {
    let (text, notes) = flat_bins(&[op(23, b"g", b"\x00\x00\x00{\"a\":\xff}")]);
    assert_eq!(text, ",\"g\":\"{\\\"a\\\":\u{FFFD}}\"}");
    assert_eq!(notes, Notes { invalid_geojson: 1, replaced_text: 1, ..Notes::default() });
}

#[test]
fn a_fault_in_the_last_bin_leaves_the_buffer_and_the_counts_as_they_were() {
    let sound = op(3, b"\xff", b"\xff");
    for bad in [op(1, b"i", &[1, 2, 3]), op(20, b"l", &[0x93, 1, 0x81, 1]), op(20, b"l", &[0x90, 0])] {
        for mut formatter in [flat(), typed()] {
            assert!(encoded(&mut formatter, &write(&[sound.clone(), bad.clone()])).is_err());
            assert!(encoded(&mut formatter, &write(std::slice::from_ref(&sound))).is_ok());
        }
    }
}

#[test]
fn no_more_is_written_or_kept_for_a_record_than_it_may_take() {
    const MOST: usize = 200_000;
    let quotes = [&[0xdb][..], &100_001u32.to_be_bytes(), &[3], &vec![b'"'; 100_000]].concat();
    let values = [
        (20, [&[0xdd, 0, 1, 0x86, 0xa0][..], &vec![0xc2; 100_000]].concat()),
        (19, [&[0xdf, 0, 0, 0xc3, 0x50][..], &vec![0xc2; 100_000]].concat()),
        (19, [&[0x81, 0x91].repeat(4)[..], &quotes, &[0xc0; 4]].concat()),
        (3, vec![1; 100_000]),
        (3, vec![0xff; 100_000]),
    ];
    let pack = || {
        Formatter::new(&model::Format::MessagePack { delete_metadata: false, invalid_utf8: Default::default() }, LIMITS)
    };
    let xdr = || Formatter::new(&model::Format::Xdr, LIMITS);
    let mut refused = Vec::new();
    for (at, (kind, value)) in values.into_iter().enumerate() {
        let body = write(&[op(kind, b"b", &value)]);
        for (format, mut formatter) in [typed(), flat(), pack(), xdr()].into_iter().enumerate() {
            let (mut out, mut notes) = (Vec::new(), Notes::default());
            formatter.limit_to(MOST);
            let result = formatter.encode(&decode(&body).unwrap(), ARRIVAL, &mut out, &mut notes);
            // A vector at most doubles.
            assert!(out.capacity() <= 2 * MOST + 100, "{} bytes for value {at} in format {format}", out.capacity());
            match result {
                Ok(()) => assert!(out.len() <= MOST),
                Err(error) => {
                    assert_eq!((error.fault, out.len()), (crate::record::Fault::TooLarge(MOST), 0), "{error}");
                    refused.push((at, format));
                    // With room for it, it is written.
                    formatter.limit_to(40 * MOST);
                    formatter.encode(&decode(&body).unwrap(), ARRIVAL, &mut out, &mut notes).unwrap();
                    assert!(out.len() > MOST || at == 1);
                }
            }
        }
    }
    assert_eq!(refused, [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1), (4, 0), (4, 1), (4, 2)]);
}
