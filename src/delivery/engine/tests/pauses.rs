//! How long a closed URL is left alone after a test that fails in one way or another.

use super::health::{break_url, requests};
use super::*;

#[test]
fn a_test_that_breaks_off_leaves_the_url_alone_for_longer() {
    let mut rig = Rig::new(&config(1));
    break_url(&mut rig, 0);
    for pause in [1_000, 2_000, 4_000, 5_000] {
        rig.after(pause - 1);
        rig.send(1);
        assert_eq!(rig.codes(), [11], "refused");
        rig.after(1);
        rig.send(1);
        let sent = requests(&mut rig);
        rig.answer(sent[0].1, b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhal");
        rig.engine.connection_ended(sent[0].1, rig.now);
        rig.engine.connection_closed(sent[0].1, rig.now);
        assert_eq!(rig.codes(), [11]);
        rig.send(1);
        assert_eq!(rig.codes(), [11], "refused at once");
        assert_eq!(requests(&mut rig), [], "and not another test");
    }
}

#[test]
fn a_test_whose_connection_closes_without_a_word_lengthens_the_pause_once() {
    let mut rig = Rig::new(&config(1));
    break_url(&mut rig, 0);
    for pause in [1_000, 2_000, 4_000, 5_000] {
        rig.after(pause - 1);
        rig.send(1);
        assert_eq!(rig.codes(), [11], "refused before {pause}");
        rig.after(1);
        rig.send(1);
        let sent = requests(&mut rig);
        assert_eq!(sent.len(), 1, "tested after {pause}");
        rig.engine.connection_ended(sent[0].1, rig.now);
        rig.engine.connection_closed(sent[0].1, rig.now);
        rig.tick();
        assert_eq!(rig.codes(), [11]);
    }
}

#[test]
fn a_url_that_accepts_and_closes_without_a_word_is_tested_now_and_then_and_not_with_every_record() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut config = config(1);
        config.destinations[0].protocol = protocol;
        let mut rig = Rig::new(&config);
        let mut opened = 0;
        for _ in 0..200 {
            rig.send(1);
            for connect in rig.connect() {
                opened += 1;
                rig.engine.connection_ended(connect.connection, rig.now);
                rig.engine.connection_closed(connect.connection, rig.now);
            }
            rig.after(10);
            rig.tick();
        }
        // Three failures, then a test after 1 s; each with one retry.
        assert!(opened <= 8, "{protocol:?}: {opened} connections for 200 records in 2 s");
        // It is back: the next test finds that out.
        rig.after(5_000);
        rig.send(1);
        let connections = rig.connect();
        assert_eq!(connections.len(), 1, "{protocol:?}");
    }
}
