use ringpost_load::tls::{Authority, Pair, Server, Validity, client_config};

use super::*;

fn authority() -> Authority {
    Authority::new("authority").unwrap()
}

fn client_of(authority: &Authority, alpn: Alpn) -> Session {
    let config = client_config(&authority.pem(), None).unwrap();
    Session::client(config, ServerName::try_from("sink.example").unwrap(), alpn)
}

fn server_of(pair: Pair) -> ServerConnection {
    ServerConnection::new(Server::new(pair).config().unwrap()).unwrap()
}

/// What the session wrote goes to the peer; what it answers comes back.
fn turn(session: &mut Session, peer: &mut ServerConnection) -> Vec<u8> {
    let mut out = Vec::new();
    session.transmit(&mut out);
    let mut rest = &out[..];
    while !rest.is_empty() && peer.read_tls(&mut rest).unwrap_or(0) > 0 {
        if peer.process_new_packets().is_err() {
            break;
        }
    }
    flush(peer)
}

fn flush(peer: &mut ServerConnection) -> Vec<u8> {
    let mut answer = Vec::new();
    while peer.wants_write() {
        peer.write_tls(&mut answer).unwrap();
    }
    answer
}

/// All that passes until both sides are still.
fn settle(session: &mut Session, peer: &mut ServerConnection) -> Vec<u8> {
    let mut plain = Vec::new();
    loop {
        let answer = turn(session, peer);
        if answer.is_empty() {
            return plain;
        }
        session.receive(&answer, |part| plain.extend_from_slice(part));
    }
}

fn open(alpn: Alpn) -> (Session, ServerConnection) {
    let authority = authority();
    let mut session = client_of(&authority, alpn);
    let mut peer = server_of(authority.sign(&["sink.example"], Validity::Now).unwrap());
    settle(&mut session, &mut peer);
    assert_eq!(session.phase(), Phase::Open, "{:?}", session.why());
    (session, peer)
}

#[test]
fn the_handshake_and_the_data_are_the_same_over_every_split() {
    let authority = authority();
    let pair = authority.sign(&["sink.example"], Validity::Now).unwrap();
    let run = |cut: &dyn Fn(&[u8]) -> Vec<Vec<u8>>| {
        let mut session = client_of(&authority, Alpn::Http2);
        let mut peer = server_of(pair.clone());
        let mut plain = Vec::new();
        let mut greeted = false;
        let mut longest = 0;
        loop {
            let mut answer = turn(&mut session, &mut peer);
            if !peer.is_handshaking() && !std::mem::replace(&mut greeted, true) {
                peer.writer().write_all(b"from the server").unwrap();
                answer.extend(flush(&mut peer));
            }
            if answer.is_empty() {
                break;
            }
            longest = longest.max(answer.len());
            for piece in cut(&answer) {
                session.receive(&piece, |part| plain.extend_from_slice(part));
            }
        }
        assert_eq!(session.phase(), Phase::Open, "{:?}", session.why());
        assert_eq!(plain, b"from the server");
        longest
    };
    let longest = run(&|bytes| vec![bytes.to_vec()]);
    run(&|bytes| bytes.iter().map(|byte| vec![*byte]).collect());
    for at in 0..longest {
        run(&|bytes| {
            let (head, tail) = bytes.split_at(at.min(bytes.len()));
            vec![head.to_vec(), tail.to_vec()]
        });
    }
}

#[test]
fn a_batch_is_encrypted_whole_and_in_few_records() {
    let (mut session, mut peer) = open(Alpn::Http2);
    let batch = vec![7; 200 << 10];
    session.write(&batch);
    let mut out = Vec::new();
    session.transmit(&mut out);
    let mut records = 0;
    let mut rest = &out[..];
    while let Some(length) = rest.get(3..5) {
        records += 1;
        rest = &rest[5 + usize::from(u16::from_be_bytes([length[0], length[1]]))..];
    }
    assert_eq!(records, 13, "16 KiB in each");
    let mut rest = &out[..];
    let mut seen = 0;
    while !rest.is_empty() {
        peer.read_tls(&mut rest).unwrap();
        peer.process_new_packets().unwrap();
        while let Ok(part) = peer.reader().fill_buf()
            && !part.is_empty()
        {
            let length = part.len();
            seen += length;
            peer.reader().consume(length);
        }
    }
    assert_eq!(seen, batch.len());
}

#[test]
fn nothing_is_written_before_the_handshake_is_done() {
    let authority = authority();
    let mut session = client_of(&authority, Alpn::Http1);
    session.write(b"POST");
    let mut out = Vec::new();
    session.transmit(&mut out);
    assert_eq!(out.first(), Some(&0x16));
    let mut peer = server_of(authority.sign(&["sink.example"], Validity::Now).unwrap());
    peer.read_tls(&mut &out[..]).unwrap();
    peer.process_new_packets().unwrap();
    let answer = flush(&mut peer);
    session.receive(&answer, |_| {});
    settle(&mut session, &mut peer);
    assert_eq!(session.phase(), Phase::Open);
    assert!(peer.reader().fill_buf().is_err(), "nothing was kept for later, either");
}

#[test]
fn a_flood_of_key_updates_ends_the_connection_and_keeps_nothing() {
    let (mut session, mut peer) = open(Alpn::Http2);
    let mut out = Vec::new();
    for update in 0..1_000 {
        peer.refresh_traffic_keys().unwrap();
        session.receive(&flush(&mut peer), |_| {});
        if session.phase() == Phase::Closed {
            assert!(update >= 16, "some are ordinary");
            break;
        }
    }
    session.transmit(&mut out);
    assert_eq!(session.phase(), Phase::Closed);
    assert!(session.why().unwrap().contains("new keys again and again"), "{:?}", session.why());
    assert!(out.len() < 4 << 10, "{} bytes of answers", out.len());
}

#[test]
fn a_few_session_tickets_are_ordinary_and_a_flood_of_them_ends_the_connection() {
    for (tickets, phase) in [(20, Phase::Open), (5_000, Phase::Closed)] {
        let authority = authority();
        let mut session = client_of(&authority, Alpn::Http2);
        let mut config =
            (*Server::new(authority.sign(&["sink.example"], Validity::Now).unwrap()).config().unwrap()).clone();
        config.send_tls13_tickets = tickets;
        let mut peer = ServerConnection::new(Arc::new(config)).unwrap();
        peer.set_buffer_limit(None);
        settle(&mut session, &mut peer);
        assert_eq!(session.phase(), phase, "{tickets} tickets: {:?}", session.why());
        // Either bound: ours, or the library's if they come in one flight.
        let ends_for = |words: &str| session.why().is_some_and(|why| why.contains(words));
        assert_eq!(ends_for("without data") || ends_for("message buffer full"), phase == Phase::Closed);
    }
}

#[test]
fn an_end_without_close_notify_is_told_from_a_whole_one() {
    let (mut session, mut peer) = open(Alpn::Http1);
    peer.send_close_notify();
    session.receive(&flush(&mut peer), |_| {});
    assert!(session.ended() && session.phase() == Phase::Closed && session.why().is_none());
    let (mut session, mut peer) = open(Alpn::Http1);
    peer.writer().write_all(&[1; 1000]).unwrap();
    let record = flush(&mut peer);
    let mut seen = 0;
    session.receive(&record[..record.len() - 1], |part| seen += part.len());
    session.cut();
    assert!(!session.ended() && session.phase() == Phase::Closed && seen == 0);
}

#[test]
fn a_damaged_record_ends_the_connection_with_an_alert() {
    let (mut session, mut peer) = open(Alpn::Http1);
    peer.writer().write_all(b"HTTP/1.1 200 OK").unwrap();
    let mut record = flush(&mut peer);
    *record.last_mut().unwrap() ^= 1;
    session.receive(&record, |_| panic!("nothing of it is taken"));
    assert!(session.why().unwrap().contains("cannot be decrypted"), "{:?}", session.why());
    let mut out = Vec::new();
    session.transmit(&mut out);
    assert!(!out.is_empty(), "the peer is told");
}

#[test]
fn alpn_has_to_be_what_the_protocol_needs() {
    for (wanted, offered, good) in [
        (Alpn::Http2, vec!["h2"], true),
        (Alpn::Http2, vec!["h2", "http/1.1"], true),
        (Alpn::Http2, vec![], false),
        (Alpn::Http2, vec!["http/1.1"], false),
        (Alpn::Http1, vec!["http/1.1", "h2"], true),
        (Alpn::Http1, vec![], true),
        (Alpn::Http1, vec!["h2"], false),
    ] {
        let authority = authority();
        let mut session = client_of(&authority, wanted);
        let pair = authority.sign(&["sink.example"], Validity::Now).unwrap();
        let config = Server { alpn: offered.clone(), ..Server::new(pair) }.config().unwrap();
        settle(&mut session, &mut ServerConnection::new(config).unwrap());
        let expected = if good { Phase::Open } else { Phase::Closed };
        assert_eq!(session.phase(), expected, "{wanted:?} of {offered:?}: {:?}", session.why());
        if wanted == Alpn::Http2 && !good {
            assert!(session.why().unwrap().contains("set protocol: HTTP_1_1"), "{:?}", session.why());
        }
    }
}

#[test]
fn our_server_side_names_the_fault_of_what_is_not_tls() {
    let authority = authority();
    let config = Server::new(authority.sign(&["ringpost.example"], Validity::Now).unwrap()).config().unwrap();
    for (bytes, words) in [
        (&b"\x02\x03\x00\x00\x00\x00\x01\x00"[..], "clear-text Aerospike XDR on a TLS port"),
        (b"GET / HTTP/1.1\r\n", "clear text (\"GET / HT\")"),
        (b"\xff\xff", "this is not TLS"),
    ] {
        let mut session = Session::server(Arc::clone(&config));
        session.receive(bytes, |_| panic!("nothing of it is taken"));
        assert!(session.why().unwrap().contains(words), "{:?}", session.why());
    }
}
