use super::*;

/// A message with these fields and ops, whose info bytes are 10 01 10.
fn message(fields: &[(u8, &[u8])], ops: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![22, 0x10, 0x01, 0x10, 0, 0, 0, 0, 0, 7, 0, 0, 0, 60, 0, 0, 0, 0];
    body.extend_from_slice(&(fields.len() as u16).to_be_bytes());
    body.extend_from_slice(&(ops.len() as u16).to_be_bytes());
    for (kind, data) in fields {
        body.extend_from_slice(&(data.len() as u32 + 1).to_be_bytes());
        body.push(*kind);
        body.extend_from_slice(data);
    }
    body.extend(ops.concat());
    body
}

fn op(kind: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = (4 + name.len() as u32 + value.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(&[2, kind, 0, name.len() as u8]);
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(value);
    bytes
}

const DIGEST: &[u8] = &[7; 20];

fn sound(ops: &[Vec<u8>]) -> Vec<u8> {
    message(&[(0, b"ns"), (4, DIGEST)], ops)
}

#[test]
fn of_a_field_that_comes_twice_the_first_is_taken() {
    let body = message(&[(0, b"one"), (0, b"two"), (4, DIGEST), (4, b"short"), (1, b"s"), (1, b"t"), (99, b"x")], &[]);
    let record = decode(&body).unwrap();
    assert_eq!((record.namespace, record.set), (&b"one"[..], Some(&b"s"[..])));
}

#[test]
fn info_bits_say_what_happened() {
    let cases = [
        (0x01, 0x10, Operation::Write, ExistsAction::Replace),
        (0x01, 0x00, Operation::Write, ExistsAction::Update),
        (0x01, 0x08, Operation::Write, ExistsAction::UpdateOnly),
        (0x01, 0x20, Operation::Write, ExistsAction::ReplaceOnly),
        (0x21, 0x00, Operation::Write, ExistsAction::CreateOnly),
        (0x03, 0x00, Operation::Delete, ExistsAction::Update),
        (0x02, 0x00, Operation::Delete, ExistsAction::Update),
        (0x13, 0x00, Operation::DurableDelete, ExistsAction::Update),
    ];
    for (info2, info3, operation, action) in cases {
        let mut body = sound(&[]);
        (body[2], body[3]) = (info2, info3);
        let record = decode(&body).unwrap();
        assert_eq!((record.operation, record.exists_action), (operation, action));
    }
}

#[test]
fn a_generation_of_zero_is_absent_on_a_delete_only() {
    let mut body = sound(&[]);
    body[9] = 0;
    assert_eq!(decode(&body).unwrap().generation, Some(0));
    body[2] = 0x03;
    assert_eq!(decode(&body).unwrap().generation, None);
}

#[test]
fn expiry_follows_the_arrival_except_for_special_values() {
    assert_eq!(expiry(Ttl::from_wire(60), 1_700_000_000_999), Some(1_700_000_060));
    assert_eq!(expiry(Ttl::from_wire(0), 1_700_000_000_999), Some(0));
    assert_eq!(expiry(Ttl::from_wire(u32::MAX), 1_700_000_000_999), Some(0));
    assert_eq!(expiry(Ttl::from_wire(u32::MAX - 1), 1_700_000_000_999), None);
}

#[test]
fn transaction_monitors_are_told_by_their_set() {
    let body = message(&[(0, b"ns"), (1, b"<ERO~MRT"), (4, DIGEST)], &[]);
    assert!(decode(&body).unwrap().is_transaction_monitor());
    assert!(!decode(&sound(&[])).unwrap().is_transaction_monitor());
}

#[test]
fn errors_say_where_and_what() {
    let body = sound(&[op(1, b"age", &[1, 2, 3])]);
    let bin = decode(&body).unwrap().bins.iter().next().unwrap();
    let text = bin.particle().unwrap_err().to_string();
    let at = body.len() - 3;
    assert_eq!(
        text,
        format!(
            "bin \"age\" at byte {at} of the message: a value of particle type integer has 3 bytes, not 8, 4, 2 or 1"
        )
    );
    let mut body = sound(&[]);
    body[2] = 0;
    assert_eq!(
        decode(&body).unwrap_err().to_string(),
        "header at byte 2 of the message: info2 is 0x00: neither a write nor a delete; only change notifications are delivered"
    );
}

#[test]
fn a_message_cut_anywhere_is_an_error_and_never_more() {
    let body = sound(&[op(3, b"name", b"value"), op(20, b"l", &[0x93, 1, 2, 3])]);
    assert!(decode(&body).is_ok());
    for cut in 0..body.len() {
        assert!(decode(&body[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_record_may_have_as_many_bins_as_the_header_can_say() {
    let ops: Vec<_> = (0..u16::MAX).map(|at| op(1, at.to_string().as_bytes(), &[0; 8])).collect();
    let body = sound(&ops);
    let record = decode(&body).unwrap();
    assert_eq!((record.bins.len(), record.bins.iter().count()), (65_535, 65_535));
}
