use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::config::model::{BinSet, BinTransforms, NameTransform};
use crate::record::{Fault, decode};

type Op = (Vec<u8>, u8, Option<[u8; 8]>, Vec<u8>);

/// A message with these bins; the fields have an unknown one among them.
fn message(is_delete: bool, ops: &[Op]) -> Vec<u8> {
    let mut body = vec![22, 0x10, if is_delete { 3 } else { 1 }, 0x10, 0, 0, 0, 0, 0, 7, 0, 0, 0, 60, 0, 0, 0, 0, 0, 3];
    body.extend((ops.len() as u16).to_be_bytes());
    for (kind, data) in [(0u8, &b"ns"[..]), (99, b"unknown"), (4, &[7; 20])] {
        body.extend((data.len() as u32 + 1).to_be_bytes());
        body.push(kind);
        body.extend(data);
    }
    for (name, kind, lut, value) in ops {
        let lut_bytes = lut.map_or(&[][..], |_| lut.as_ref().unwrap());
        body.extend((4 + name.len() as u32 + lut_bytes.len() as u32 + value.len() as u32).to_be_bytes());
        body.extend([2, *kind, u8::from(lut.is_some()), name.len() as u8]);
        body.extend(name.iter().chain(lut_bytes).chain(value));
    }
    body
}

fn named(names: &[&str]) -> Vec<u8> {
    let ops: Vec<Op> =
        names.iter().enumerate().map(|(at, name)| (name.as_bytes().to_vec(), 3, None, vec![at as u8])).collect();
    message(false, &ops)
}

fn bins(record: &ChangeRecord<'_>) -> Vec<(String, Vec<u8>)> {
    record.bins.iter().map(|bin| (String::from_utf8_lossy(bin.name).into_owned(), bin.raw_value().to_vec())).collect()
}

fn names_after(config: &BinTransforms, names: &[&str]) -> Result<Vec<String>, String> {
    let mut transformer = Transformer::new(config).unwrap();
    let body = named(names);
    let record = decode(&body).unwrap();
    let result = transformer.apply(&record).map_err(|error| error.to_string())?;
    Ok(bins(&result).into_iter().map(|(name, _)| name).collect())
}

fn regex(pattern: &str, replacement: &str) -> NameTransform {
    NameTransform::Regex { pattern: pattern.to_owned(), replacement: replacement.to_owned() }
}

fn set(names: &[&str]) -> BinSet {
    BinSet::Specified(names.iter().map(|name| (*name).to_owned()).collect())
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(old, new)| ((*old).to_owned(), (*new).to_owned())).collect()
}

#[test]
fn steps_are_taken_in_order_and_by_original_names() {
    let config = BinTransforms {
        include: set(&["a", "b", " Cc "]),
        exclude: Some(set(&["b"])),
        map: pairs(&[("a", "b"), ("Cc", "never")]),
        transforms: vec![NameTransform::Trim, NameTransform::Uppercase, regex("C+", "x$0")],
    };
    assert_eq!(names_after(&config, &["a", "b", " Cc ", "d"]).unwrap(), ["b", "xCC"]);
    let lower = BinTransforms { transforms: vec![regex("[A-Z]", "_$0"), NameTransform::Lowercase], ..config };
    assert_eq!(names_after(&lower, &[" Cc "]).unwrap(), [" _cc "]);
}

#[test]
fn sets_are_all_none_or_named_and_exclude_wins() {
    let cases = [
        (BinSet::All, None, vec!["a", "b"]),
        (BinSet::None, None, vec![]),
        (BinSet::All, Some(BinSet::All), vec![]),
        (BinSet::All, Some(BinSet::None), vec!["a", "b"]),
        (set(&["a"]), Some(set(&["a"])), vec![]),
        (set(&["a", "x"]), Some(set(&["b"])), vec!["a"]),
    ];
    for (include, exclude, expected) in cases {
        let config = BinTransforms { include, exclude, ..BinTransforms::default() };
        assert_eq!(names_after(&config, &["a", "b"]).unwrap(), expected, "{config:?}");
    }
}

#[test]
fn two_names_that_become_one_are_an_error_that_names_the_setting() {
    let map = BinTransforms { map: pairs(&[("a", "b")]), ..BinTransforms::default() };
    let steps = BinTransforms { transforms: vec![NameTransform::Lowercase], ..BinTransforms::default() };
    let both = BinTransforms { map: pairs(&[("a", "b")]), transforms: vec![NameTransform::Lowercase], ..steps.clone() };
    for (config, names, setting) in [
        (&map, ["a", "b"], "bin-transforms.map"),
        (&map, ["b", "a"], "bin-transforms.map"),
        (&steps, ["B", "b"], "bin-transforms.transforms"),
        (&both, ["a", "B"], "bin-transforms.map or bin-transforms.transforms"),
    ] {
        let text = names_after(config, &names).unwrap_err();
        let end = format!("two bins with different names both get this name: change {setting}, or exclude one of them");
        assert!(text.starts_with("bin \"b\" at byte 76 of the message: ") && text.ends_with(&end), "{text}");
    }
}

#[test]
fn a_name_that_comes_twice_is_no_clash_and_none_between_records() {
    let config = BinTransforms { transforms: vec![NameTransform::Lowercase], ..BinTransforms::default() };
    assert_eq!(names_after(&config, &["A", "A"]).unwrap(), ["a", "a"]);
    let mut transformer = Transformer::new(&config).unwrap();
    for name in ["A", "a", "A"] {
        let body = named(&[name]);
        assert_eq!(bins(&transformer.apply(&decode(&body).unwrap()).unwrap()), [("a".to_owned(), vec![0])]);
    }
}

#[test]
fn a_regex_runs_once_per_name() {
    let config = BinTransforms {
        exclude: Some(set(&["dropped"])),
        transforms: vec![regex("(?<=a)b", "c")],
        ..BinTransforms::default()
    };
    let mut transformer = Transformer::new(&config).unwrap();
    let body = named(&["ab", "x", "ab", "dropped"]);
    for _ in 0..100 {
        assert_eq!(transformer.apply(&decode(&body).unwrap()).unwrap().bins.len(), 3);
    }
    assert_eq!(transformer.runs(), 3);
}

#[test]
fn a_fault_is_remembered_as_well() {
    let slow = regex(r"(?:(?=a)(?:a|aa)+)+$", "");
    let config = BinTransforms { transforms: vec![slow], ..BinTransforms::default() };
    let mut transformer = Transformer::new(&config).unwrap();
    let body = named(&[&format!("{}!", "a".repeat(200))]);
    for _ in 0..3 {
        assert_eq!(transformer.apply(&decode(&body).unwrap()).unwrap_err().fault, Fault::RegexSteps);
    }
    assert_eq!(transformer.runs(), 1);
}

#[test]
fn a_name_that_grows_too_long_is_an_error() {
    let steps = vec![regex(".", "0123456789")];
    let config = BinTransforms { transforms: steps, ..BinTransforms::default() };
    assert_eq!(names_after(&config, &[&"a".repeat(25)]).unwrap()[0].len(), 250);
    let text = names_after(&config, &[&"a".repeat(26)]).unwrap_err();
    assert!(text.contains("\"012345678901234…\"") && text.contains("this new name has 260 bytes"), "{text}");
    let doubling = vec![regex(".", "$0$0$0$0$0$0$0$0"); 20];
    let config = BinTransforms { transforms: doubling, ..BinTransforms::default() };
    assert!(names_after(&config, &["a"]).unwrap_err().contains("16384 bytes"));
    let long = BinTransforms { map: vec![("a".to_owned(), "b".repeat(256))], ..BinTransforms::default() };
    assert!(names_after(&long, &["a"]).unwrap_err().contains("change bin-transforms.map"));
}

#[test]
fn bytes_that_are_not_utf8_stay_unless_their_text_changes() {
    let config = BinTransforms { transforms: vec![NameTransform::Lowercase], ..BinTransforms::default() };
    let mut transformer = Transformer::new(&config).unwrap();
    let body = message(false, &[(b"a\xff".to_vec(), 1, None, vec![0; 8]), (b"B\xff".to_vec(), 1, None, vec![0; 8])]);
    let record = decode(&body).unwrap();
    let result = transformer.apply(&record).unwrap();
    let names: Vec<_> = result.bins.iter().map(|bin| bin.name).collect();
    assert_eq!(names, [&b"a\xff"[..], "b\u{FFFD}".as_bytes()]);
}

#[test]
fn what_is_remembered_is_bounded_and_a_record_of_any_size_works() {
    let config = BinTransforms { transforms: vec![NameTransform::Uppercase], ..BinTransforms::default() };
    let mut transformer = Transformer::new(&config).unwrap();
    let ops: Vec<Op> = (0..u16::MAX).map(|at| (format!("name{at}").into_bytes(), 1, None, vec![0; 8])).collect();
    let body = message(false, &ops);
    let record = decode(&body).unwrap();
    for _ in 0..2 {
        let result = transformer.apply(&record).unwrap();
        assert_eq!(result.bins.len(), 65_535);
        assert!(result.bins.iter().zip(&ops).all(|(bin, op)| bin.name == op.0.to_ascii_uppercase()));
    }
    assert!(transformer.message.capacity() > KEEP_BYTES);
    let small = named(&["a"]);
    assert_eq!(transformer.apply(&decode(&small).unwrap()).unwrap().bins.len(), 1);
    assert!(transformer.message.capacity() < 1024 && transformer.names.len() == 1);
    // A flood of names in small records stays bounded, too.
    for at in 0..40_000 {
        let body = named(&[&format!("n{at}")]);
        transformer.apply(&decode(&body).unwrap()).unwrap();
        assert!(transformer.names.len() <= 16_385);
    }
}

#[test]
fn java_agrees_on_case_and_blanks() {
    let text = include_str!("../../../tests/data/transforms/java.jsonl");
    let mut count = 0;
    for line in text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()) {
        let Some(name) = line.get("text").and_then(|text| text.as_str()) else { continue };
        for (step, expected) in
            [(NameTransform::Lowercase, "lower"), (NameTransform::Uppercase, "upper"), (NameTransform::Trim, "trim")]
        {
            let config = BinTransforms { transforms: vec![step], ..BinTransforms::default() };
            assert_eq!(names_after(&config, &[name]).unwrap(), [line[expected].as_str().unwrap()], "{name:?}");
        }
        count += 1;
    }
    assert!(count > 20);
}

/// New name to original name.
type NewNames = BTreeMap<Vec<u8>, Vec<u8>>;

/// What should come out, worked out another way; `None`: a clash or a name that is too long.
fn model(config: &BinTransforms, ops: &[Op]) -> Option<NewNames> {
    let has = |set: &BinSet, name: &[u8]| match set {
        BinSet::All => true,
        BinSet::None => false,
        BinSet::Specified(list) => list.iter().collect::<BTreeSet<_>>().iter().any(|known| known.as_bytes() == name),
    };
    let mut out = NewNames::new();
    for op in ops {
        let name = String::from_utf8(op.0.clone()).unwrap();
        if config.exclude.as_ref().is_some_and(|set| has(set, &op.0)) || !has(&config.include, &op.0) {
            continue;
        }
        let mapped: BTreeMap<_, _> = config.map.iter().cloned().collect();
        let new = mapped.get(&name).cloned().unwrap_or_else(|| {
            config.transforms.iter().fold(name, |name, step| match step {
                NameTransform::Lowercase => name.chars().flat_map(char::to_lowercase).collect(),
                NameTransform::Uppercase => name.chars().flat_map(char::to_uppercase).collect(),
                NameTransform::Trim => {
                    let kept = name.chars().skip_while(|letter| *letter <= ' ').collect::<Vec<_>>();
                    let kept: Vec<_> = kept.into_iter().rev().skip_while(|letter| *letter <= ' ').collect();
                    kept.into_iter().rev().collect()
                }
                NameTransform::Regex { pattern, replacement } => {
                    name.split(pattern).collect::<Vec<_>>().join(replacement)
                }
            })
        });
        let is_long = new.len() > 255;
        if out.insert(new.into_bytes(), op.0.clone()).is_some_and(|old| old != op.0) || is_long {
            return None;
        }
    }
    Some(out)
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof!["[ab ]{0,3}", "[aA]{1,2}", "[a-zA-Zéß ]{0,15}"]
}

fn any_set() -> impl Strategy<Value = BinSet> {
    let names = prop::collection::vec(any_name(), 0..5).prop_map(BinSet::Specified);
    prop_oneof![3 => Just(BinSet::All), 1 => Just(BinSet::None), 3 => names]
}

fn any_config() -> impl Strategy<Value = BinTransforms> {
    let step = prop_oneof![
        Just(NameTransform::Lowercase),
        Just(NameTransform::Uppercase),
        Just(NameTransform::Trim),
        ("[abA]{1,2}", "[a-c]{0,2}").prop_map(|(pattern, replacement)| regex(&pattern, &replacement)),
    ];
    let map = prop::collection::btree_map(any_name(), any_name(), 0..4).prop_map(|map| map.into_iter().collect());
    (any_set(), prop::option::of(any_set()), map, prop::collection::vec(step, 0..4))
        .prop_map(|(include, exclude, map, transforms)| BinTransforms { include, exclude, map, transforms })
}

fn any_ops() -> impl Strategy<Value = Vec<Op>> {
    let op = (any_name(), 0u8..30, prop::option::of(any::<[u8; 8]>()), prop::collection::vec(any::<u8>(), 0..9));
    prop::collection::vec(op.prop_map(|(name, kind, lut, value)| (name.into_bytes(), kind, lut, value)), 0..6)
}

proptest! {
    #[test]
    fn any_record_is_transformed_as_a_simple_model_says(config in any_config(), records in prop::collection::vec((any_ops(), any::<bool>()), 1..4)) {
        let mut transformer = Transformer::new(&config).unwrap();
        for (ops, is_delete) in records {
            let body = message(is_delete, &ops);
            let record = decode(&body).unwrap();
            let expected = model(&config, &ops);
            let Ok(result) = transformer.apply(&record) else {
                prop_assert!(expected.is_none());
                continue;
            };
            let expected = expected.unwrap();
            let mut left: Vec<Op> = ops;
            left.retain_mut(|op| {
                let new = expected.iter().find(|(_, old)| **old == op.0).map(|(new, _)| new.clone());
                op.0 = new.clone().unwrap_or_default();
                new.is_some()
            });
            // The whole message, byte for byte.
            let wanted = message(is_delete, &left);
            prop_assert_eq!(result.body, &wanted[..]);
        }
    }
}

#[test]
#[ignore = "a figure, not a test: cargo test --release --lib transforms::tests::speed -- --ignored --nocapture"]
fn speed() {
    let config = BinTransforms {
        exclude: Some(set(&["secret"])),
        map: pairs(&[("id", "user-id")]),
        transforms: vec![regex("([a-z])([A-Z])", "$1_$2"), NameTransform::Lowercase],
        ..BinTransforms::default()
    };
    let mut transformer = Transformer::new(&config).unwrap();
    let body = named(&["id", "firstName", "lastName"]);
    let record = decode(&body).unwrap();
    let (rounds, start) = (2_000_000, std::time::Instant::now());
    let mut total = 0;
    for _ in 0..rounds {
        total += transformer.apply(std::hint::black_box(&record)).unwrap().bins.len();
    }
    println!("{} ns per record, {total} bins", start.elapsed().as_nanos() / rounds);
}
