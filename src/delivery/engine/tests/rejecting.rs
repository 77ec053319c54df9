//! Records that cannot be decoded: what they are answered, and that `rejected-file` is written first.

use super::*;
use crate::config::model::{ContentErrors, Rejected};

/// A frame whose message has no namespace and no digest.
fn bad_frame() -> Vec<u8> {
    let mut frame = vec![2, 3, 0, 0, 0, 0, 0, 22];
    frame.extend_from_slice(&[22, 0, 1, 0]);
    frame.extend_from_slice(&[0; 18]);
    frame
}

fn kept() -> Config {
    let mut config = config(1);
    config.rejected = Some(Rejected { file: "x".into(), max_bytes: 1 << 20 });
    config
}

fn send_bad(rig: &mut Rig) {
    rig.engine.source_receive(rig.source, &bad_frame(), Now { monotonic: rig.now, unix_ms: 1_700_000_000_000 });
}

#[test]
fn without_a_file_the_answer_is_10_or_what_the_configuration_says() {
    let mut rig = Rig::new(&config(1));
    send_bad(&mut rig);
    assert_eq!(rig.codes(), [10]);
    let mut config = config(1);
    config.content_errors = ContentErrors::Temporary;
    let mut rig = Rig::new(&config);
    send_bad(&mut rig);
    assert_eq!(rig.codes(), [11]);
}

#[test]
fn the_answer_waits_until_the_frame_is_in_the_file() {
    let mut rig = Rig::new(&kept());
    send_bad(&mut rig);
    send_bad(&mut rig);
    assert_eq!(rig.codes(), [0u8; 0]);
    assert!(rig.engine.is_busy());
    let line: serde_json::Value = serde_json::from_slice(&rig.engine.next_rejected().unwrap().bytes).unwrap();
    let frame = base64_simd::STANDARD.decode_to_vec(line["frame"].as_str().unwrap()).unwrap();
    assert_eq!(frame, bad_frame());
    assert_eq!((&line["peer"], &line["time"]), (&"127.0.0.1:9".into(), &1_700_000_000_000u64.into()));
    assert!(line["reason"].as_str().unwrap().contains("no namespace"), "{line}");
    assert!(rig.engine.next_rejected().is_some());
    rig.engine.rejected_written(true);
    assert_eq!(rig.codes(), [10]);
    rig.engine.rejected_written(false);
    assert_eq!(rig.codes(), [11], "a record that is in no file is sent again");
    rig.assert_empty();
}

#[test]
fn a_file_that_hangs_does_not_hold_a_record_beyond_its_deadline() {
    let mut rig = Rig::new(&kept());
    send_bad(&mut rig);
    rig.after(7_000);
    rig.tick();
    assert_eq!(rig.codes(), [11]);
    drop(rig.engine.next_rejected());
    rig.engine.rejected_written(true);
    assert_eq!(rig.codes(), [0u8; 0], "it has its code already");
    rig.assert_empty();
}

#[test]
fn what_waits_for_the_file_is_bounded() {
    let mut rig = Rig::new(&kept());
    (0..1_100).for_each(|_| send_bad(&mut rig));
    assert_eq!(rig.codes().len(), 0, "acks leave in the order of arrival");
    while rig.engine.next_rejected().is_some() {
        rig.engine.rejected_written(true);
    }
    let codes = rig.codes();
    assert_eq!(codes.iter().filter(|code| **code == 10).count(), 1024);
    assert_eq!(codes.iter().filter(|code| **code == 11).count(), 76);
    rig.assert_empty();
}
