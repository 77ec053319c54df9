use super::*;
use proptest::prelude::*;

const LIMITS: FrameLimits = FrameLimits { max_frame_bytes: 1 << 20 };

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2, kind, 0, 0];
    bytes.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Every frame of `pieces`, the kind told by its number.
fn assemble<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<(FrameKind, Vec<u8>)> {
    let mut assembler = Assembler::new(LIMITS);
    let mut frames = Vec::new();
    for piece in pieces {
        let mut input = piece;
        while let Some(frame) = assembler.next(&mut input).unwrap() {
            frames.push((frame.kind, frame.body.to_vec()));
        }
        assert!(input.is_empty());
    }
    assert!(!assembler.is_mid_frame());
    frames
}

#[test]
fn a_frame_that_lies_whole_in_the_input_is_lent_and_nothing_is_kept() {
    let bytes = [frame(3, b"first"), frame(4, b"second")].concat();
    let mut assembler = Assembler::new(LIMITS);
    let mut input = &bytes[..];
    let first = assembler.next(&mut input).unwrap().unwrap();
    assert_eq!((first.kind, first.body), (FrameKind::Message, &b"first"[..]));
    assert_eq!(first.body.as_ptr(), bytes[8..].as_ptr());
    let second = assembler.next(&mut input).unwrap().unwrap();
    assert_eq!((second.kind, second.body), (FrameKind::Compressed, &b"second"[..]));
    assert!(assembler.next(&mut input).unwrap().is_none());
    assert_eq!((assembler.held_bytes(), assembler.is_mid_frame()), (0, false));
}

#[test]
fn a_claimed_size_allocates_nothing() {
    let mut bytes = frame(3, &[]);
    bytes[4..8].copy_from_slice(&(1u32 << 20).to_be_bytes());
    bytes.push(7);
    let mut assembler = Assembler::new(LIMITS);
    assert!(assembler.next(&mut &bytes[..]).unwrap().is_none());
    assert_eq!(assembler.wanted_bytes(), (1 << 20) + 8);
    assert!(assembler.held_bytes() <= 256);
    assert!(assembler.is_mid_frame());
}

#[test]
fn a_large_frame_holds_no_more_than_its_size_and_is_given_back() {
    let bytes = frame(3, &vec![5; 700_000]);
    let mut assembler = Assembler::new(LIMITS);
    for piece in bytes.chunks(9_000) {
        let mut input = piece;
        let done = assembler.next(&mut input).unwrap().is_some();
        assert!(assembler.held_bytes() <= bytes.len());
        assert_eq!(done, !assembler.is_mid_frame());
    }
    assert!(assembler.next(&mut &[][..]).unwrap().is_none());
    assert_eq!(assembler.held_bytes(), 0);
}

#[test]
fn bytes_set_aside_come_first() {
    let bytes = [frame(3, b"a"), frame(3, b"bb"), frame(3, b"ccc"), frame(3, b"dddd")].concat();
    let (head, tail) = bytes.split_at(bytes.len() - 3);
    let mut assembler = Assembler::new(LIMITS);
    let mut input = head;
    assert_eq!(assembler.next(&mut input).unwrap().unwrap().body, b"a");
    assembler.keep(input);
    assert!(!assembler.is_mid_frame(), "the next frame is whole");
    assert_eq!(assembler.next(&mut &[][..]).unwrap().unwrap().body, b"bb");
    assembler.keep(&[]);
    let mut input = tail;
    assert_eq!(assembler.next(&mut input).unwrap().unwrap().body, b"ccc");
    assert_eq!(input, tail);
    assert_eq!(assembler.next(&mut input).unwrap().unwrap().body, b"dddd");
    assert!(assembler.next(&mut input).unwrap().is_none());
    assert!(!assembler.is_mid_frame());
}

#[test]
fn one_frame_a_step_out_of_many_set_aside_does_not_move_them_each_time() {
    let bytes: Vec<u8> = (0..200_000).flat_map(|_| frame(3, b"x")).collect();
    let mut assembler = Assembler::new(LIMITS);
    assembler.keep(&bytes);
    let mut count = 0;
    while assembler.next(&mut &[][..]).unwrap().is_some() {
        assembler.keep(b"");
        count += 1;
    }
    assert_eq!(count, 200_000);
}

#[test]
fn the_limit_is_on_the_body_and_exact() {
    let limits = FrameLimits { max_frame_bytes: 5 };
    assert!(Assembler::new(limits).next(&mut &frame(3, b"12345")[..]).unwrap().is_some());
    let error = Assembler::new(limits).next(&mut &frame(3, b"123456")[..]).unwrap_err();
    assert_eq!(error, FrameError::TooLarge { size: 6, limit: 5 });
    let error = Assembler::new(limits).next(&mut &[2, 3, 255, 255, 255, 255, 255, 255][..]).unwrap_err();
    assert_eq!(error, FrameError::TooLarge { size: (1 << 48) - 1, limit: 5 });
    assert!(error.to_string().contains("limits.max-frame-bytes"));
}

#[test]
fn what_is_not_xdr_is_named() {
    let cases: [(&[u8], &str); 12] = [
        (b"\x16\x03\x01\x00\xf8\x01\x00\x00", "TLS"),
        (b"GET / HTTP/1.1", "HTTP request (\"GET / HT\")"),
        (b"OPTIONS *", "HTTP"),
        (b"PRI * HTTP/2.0", "HTTP"),
        (b"SSH-2.0-OpenSSH", "text (\"SSH-2.0-\")"),
        (b"\x02\x01\x00\x00\x00\x00\x00\x06", "info request"),
        (b"\x02\x02\x00\x00\x00\x00\x00\x10", "login"),
        (b"\x00\x02\x00\x00\x00\x00\x00\x10", "login"),
        (b"\x02\x05\x00\x00\x00\x00\x00\x10", "type 5"),
        (b"\x02\x00\x00\x00\x00\x00\x00\x10", "type 0"),
        (b"\x02\x09\x00\x00\x00\x00\x00\x10", "type 9"),
        (b"\x01\x03\x00\x00\x00\x00\x00\x10", "version 1"),
    ];
    for (bytes, part) in cases {
        let text = Assembler::new(LIMITS).next(&mut &bytes[..]).unwrap_err().to_string();
        assert!(text.contains(part), "{part}: {text}");
    }
}

proptest! {
    /// However the stream is cut, the frames are the same.
    #[test]
    fn any_split_gives_the_same_frames(
        bodies in prop::collection::vec((3u8..5, prop::collection::vec(any::<u8>(), 0..80)), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let bytes: Vec<u8> = bodies.iter().flat_map(|(kind, body)| frame(*kind, body)).collect();
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let frames = assemble(places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]));
        let expected: Vec<_> = bodies
            .into_iter()
            .map(|(kind, body)| (if kind == 3 { FrameKind::Message } else { FrameKind::Compressed }, body))
            .collect();
        prop_assert_eq!(frames, expected);
    }

    /// Pausing after any frame and setting the rest aside loses and repeats nothing.
    #[test]
    fn pausing_anywhere_gives_the_same_frames(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..12),
        piece in 1usize..200,
        pauses in prop::collection::vec(any::<bool>(), 64),
    ) {
        let bytes: Vec<u8> = bodies.iter().flat_map(|body| frame(3, body)).collect();
        let mut assembler = Assembler::new(LIMITS);
        let mut frames = Vec::new();
        let mut pauses = pauses.into_iter().cycle();
        for piece in bytes.chunks(piece) {
            let mut input = piece;
            while let Some(frame) = assembler.next(&mut input).unwrap() {
                frames.push(frame.body.to_vec());
                if pauses.next().unwrap() {
                    assembler.keep(input);
                    input = &[];
                }
            }
        }
        prop_assert_eq!(frames, bodies);
    }

    /// Bytes from anywhere never do worse than end the connection.
    #[test]
    fn random_bytes_are_frames_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut assembler = Assembler::new(LIMITS);
        let mut input = &bytes[..];
        while let Ok(Some(_)) = assembler.next(&mut input) {}
    }
}

#[test]
fn a_dropped_frame_holds_nothing_and_is_given_at_its_end() {
    let frame = |size: usize| [&[2, 3, 0, 0][..], &(size as u32).to_be_bytes(), &vec![7; size]].concat();
    let stream = [frame(100_000), frame(3)].concat();
    for cut in [8, 9, 50_000, 100_007] {
        for second in [cut, 100_007, 100_008, 100_009, 100_018, stream.len()] {
            for set_aside in [false, true] {
                let mut assembler = Assembler::new(FrameLimits { max_frame_bytes: 1 << 20 });
                let mut input = &stream[..cut];
                assert_eq!(assembler.next(&mut input), Ok(None));
                assembler.drop_frame();
                assert!(assembler.is_mid_frame() && assembler.held_bytes() == 0);
                let mut kinds = Vec::new();
                for piece in [&stream[cut..second.max(cut)], &stream[second.max(cut)..]] {
                    let mut input = piece;
                    if set_aside {
                        assembler.keep(input);
                        input = &[];
                    }
                    while let Some(frame) = assembler.next(&mut input).unwrap() {
                        kinds.push((frame.kind, frame.body.len()));
                    }
                }
                assert_eq!(kinds, [(FrameKind::Dropped, 0), (FrameKind::Message, 3)], "{cut}, {second}, {set_aside}");
                assert!(!assembler.is_mid_frame());
            }
        }
    }
}
