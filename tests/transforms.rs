//! `bin-transforms` on every frame of `tests/data/frames`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

#[path = "frames/corpus.rs"]
mod corpus;

use ringpost::config::model::{BinSet, BinTransforms, NameTransform};
use ringpost::policy::transforms::Transformer;
use ringpost::record::{self, Bin, ChangeRecord};

/// All messages that can be read, by name.
fn messages() -> Vec<(String, Vec<u8>)> {
    let mut all = corpus::all();
    all.retain_mut(|(_, frame)| {
        let is_message = frame.get(1) == Some(&3);
        frame.drain(..8.min(frame.len()));
        is_message && record::decode(frame).is_ok()
    });
    assert!(all.len() > 150, "{}", all.len());
    all
}

/// All of a bin but for its name.
fn content<'a>(bin: &Bin<'a>) -> (u8, Option<u64>, &'a [u8]) {
    (bin.particle_type.0, bin.lut_ms(), bin.raw_value())
}

fn assert_same_metadata(name: &str, before: &ChangeRecord<'_>, after: &ChangeRecord<'_>) {
    let data = |record: &ChangeRecord<'_>| {
        format!(
            "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            record.namespace,
            record.set,
            record.digest,
            record.user_key,
            record.operation,
            record.exists_action,
            record.generation,
            record.lut_ms,
            record.ttl
        )
    };
    assert_eq!(data(before), data(after), "{name}");
}

#[test]
fn a_block_that_changes_nothing_leaves_every_byte() {
    let mut transformer = Transformer::new(&BinTransforms::default()).unwrap();
    for (name, body) in messages() {
        let record = record::decode(&body).unwrap();
        assert_eq!(transformer.apply(&record).unwrap().body, &body[..], "{name}");
    }
}

#[test]
fn new_names_change_names_only() {
    let prefix = NameTransform::Regex { pattern: "^".to_owned(), replacement: "new-".to_owned() };
    let config = BinTransforms { transforms: vec![prefix], ..BinTransforms::default() };
    let mut transformer = Transformer::new(&config).unwrap();
    let mut bins = 0;
    for (name, body) in messages() {
        let before = record::decode(&body).unwrap();
        let after = match transformer.apply(&before) {
            Ok(after) => after,
            Err(error) => {
                let is_long = before.bins.iter().any(|bin| bin.name.len() > 251);
                assert!(is_long, "{name}: {error}");
                continue;
            }
        };
        assert_same_metadata(&name, &before, &after);
        assert_eq!(before.bins.len(), after.bins.len(), "{name}");
        assert_eq!(after.body.len(), body.len() + 4 * before.bins.len() + lossy_growth(&before), "{name}");
        for (old, new) in before.bins.iter().zip(after.bins) {
            let expected = format!("new-{}", String::from_utf8_lossy(old.name));
            assert_eq!(String::from_utf8_lossy(new.name), expected, "{name}");
            assert_eq!(content(&old), content(&new), "{name}");
            bins += 1;
        }
    }
    assert!(bins > 300, "{bins}");
}

/// A name that is not UTF-8 and changes becomes its lossy text.
fn lossy_growth(record: &ChangeRecord<'_>) -> usize {
    record.bins.iter().map(|bin| String::from_utf8_lossy(bin.name).len() - bin.name.len()).sum()
}

#[test]
fn bins_that_are_left_out_are_gone_and_the_others_stay() {
    for (name, body) in messages() {
        let before = record::decode(&body).unwrap();
        let Some(first) = before.bins.iter().next().and_then(|bin| String::from_utf8(bin.name.to_vec()).ok()) else {
            continue;
        };
        let one = BinSet::Specified(vec![first.clone()]);
        let without = BinTransforms { exclude: Some(one.clone()), ..BinTransforms::default() };
        let only = BinTransforms { include: one, ..BinTransforms::default() };
        for (config, keeps_first) in [(without, false), (only, true)] {
            let mut transformer = Transformer::new(&config).unwrap();
            let after = transformer.apply(&before).unwrap();
            assert_same_metadata(&name, &before, &after);
            let kept = |bin: &Bin<'_>| (bin.name == first.as_bytes()) == keeps_first;
            let expected: Vec<_> = before.bins.iter().filter(kept).map(|bin| content(&bin)).collect();
            let found: Vec<_> = after.bins.iter().map(|bin| content(&bin)).collect();
            assert_eq!(found, expected, "{name}");
        }
    }
}

#[test]
fn a_bin_that_comes_twice_is_no_clash() {
    let config = BinTransforms { transforms: vec![NameTransform::Uppercase], ..BinTransforms::default() };
    let mut transformer = Transformer::new(&config).unwrap();
    let (name, body) = corpus::synthetic().into_iter().find(|(name, _)| name.starts_with("w44")).unwrap();
    let record = record::decode(&body[8..]).unwrap();
    let after = transformer.apply(&record).unwrap();
    let names: Vec<_> = after.bins.iter().map(|bin| bin.name.to_vec()).collect();
    assert!(names.len() > 1 && names.iter().all(|other| *other == names[0]), "{name}: {names:?}");
}
