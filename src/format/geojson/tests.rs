use super::*;
use proptest::prelude::*;

fn compacted(text: &[u8]) -> Option<String> {
    let mut out = b"x".to_vec();
    let (mut members, mut scratch) = (Members::default(), Scratch::default());
    members.begin(&out);
    if compact(text, &mut out, &mut members, &mut scratch, 100) {
        Some(String::from_utf8(out).unwrap()[1..].to_owned())
    } else {
        assert_eq!(out, b"x");
        None
    }
}

#[test]
fn white_space_between_tokens_goes_and_nothing_else() {
    let text =
        "  { \"type\" : \"A B\" ,\n\t\"coordinates\": [ [ -122.0 , 37.50 ] , 1000 ] , \"e\": { } , \"l\": [ ] }\r\n";
    let expected = r#"{"type":"A B","coordinates":[[-122.0,37.50],1000],"e":{},"l":[]}"#;
    assert_eq!(compacted(text.as_bytes()).unwrap(), expected);
}

#[test]
fn numbers_and_escapes_keep_their_text() {
    let text = r#"[123456789012345678901234567890,1e999,-0,0.10,1E+2,"\u0041\n\ud83d\ude00",true,false,null]"#;
    assert_eq!(compacted(text.as_bytes()).unwrap(), text);
}

#[test]
fn of_repeated_members_the_last_stays() {
    assert_eq!(compacted(br#"{"a":{"b":1,"b":2},"c":[],"a":3}"#).unwrap(), r#"{"c":[],"a":3}"#);
    assert_eq!(compacted(r#"{"\u0061":1,"a":2,"\ud83d\ude00\/":3,"😀/":4}"#.as_bytes()).unwrap(), r#"{"a":2,"😀/":4}"#);
    assert_eq!(compacted(br#"{"a":{},"a":{}}"#).unwrap(), r#"{"a":{}}"#);
}

#[test]
fn what_is_not_json_is_refused() {
    let cases: [&[u8]; 30] = [
        b"",
        b" ",
        b"{",
        b"}",
        b"[1",
        b"[1,]",
        b"[,1]",
        b"{\"a\"}",
        b"{\"a\":}",
        b"{\"a\":1,}",
        b"{a:1}",
        b"01",
        b"-",
        b"1.",
        b".5",
        b"1e",
        b"+1",
        b"nul",
        b"\"\x01\"",
        b"\"\\x\"",
        b"\"\\ud800\"",
        b"\"\\udc00\"",
        b"\"\\u12\"",
        b"\"abc",
        b"1 2",
        b"{} x",
        b"\"\xff\"",
        b"[}",
        b"{]",
        b"[1}",
    ];
    for case in cases {
        assert_eq!(compacted(case), None, "{}", case.escape_ascii());
    }
    let deep = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
    assert!(compacted(deep(100).as_bytes()).is_some());
    assert!(compacted(deep(101).as_bytes()).is_none());
    assert!(compacted(deep(1_000_000).as_bytes()).is_none());
}

/// JSON-like text: mostly valid, so that both verdicts come up often.
fn json_like() -> impl Strategy<Value = String> {
    let scalar = prop::sample::select(vec![
        "1",
        "-0.5",
        "1e5",
        "true",
        "null",
        "\"a\"",
        "\"\\u00e9\"",
        "\"é\"",
        "{}",
        "[]",
        "01",
        "\"",
        "tru",
        "\"\\ud83d\\ude00\"",
    ]);
    scalar.prop_map(str::to_owned).prop_recursive(4, 40, 4, |inner| {
        let name = prop::sample::select(vec!["\"a\"", "\"b\"", "\"\\u0061\"", "\"c d\"", "x"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|values| format!("[ {} ]", values.join(" , "))),
            prop::collection::vec((name, inner), 0..4).prop_map(|pairs| {
                let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name} :{value}")).collect();
                format!("{{{} }}", pairs.join(","))
            }),
        ]
    })
}

proptest! {
    /// An independent reader agrees about what is JSON, and reads the same value before and after.
    #[test]
    fn an_independent_reader_agrees(text in json_like()) {
        let expected: Option<serde_json::Value> = serde_json::from_str(&text).ok();
        let actual = compacted(text.as_bytes()).map(|text| serde_json::from_str(&text).unwrap());
        prop_assert_eq!(actual, expected);
    }

    #[test]
    fn any_text_is_judged_as_an_independent_reader_does(text in "[\\[\\]{}:,\"0-9eE.+\\\\untrlfasx -]{0,12}") {
        let expected = serde_json::from_str::<serde_json::Value>(&text).is_ok();
        prop_assert_eq!(compacted(text.as_bytes()).is_some(), expected);
    }
}
