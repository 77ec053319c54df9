use super::{Progress, ResponseReader};

const HEAD_LIMIT: usize = 1 << 10;
const BODY_LIMIT: usize = 100;

/// What became of a response: how it ended, and how many bytes it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Done {
        status: u16,
        keep: bool,
        consumed: usize,
    },
    /// By the end of the connection.
    Closed(u16),
    Cut,
    Malformed,
}

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> End {
    let mut reader = ResponseReader::new(HEAD_LIMIT, BODY_LIMIT);
    let mut before = 0;
    for piece in pieces {
        match reader.receive(piece) {
            Progress::More => before += piece.len(),
            Progress::Done { status, keep, consumed } => {
                return End::Done { status, keep, consumed: before + consumed };
            }
            Progress::Malformed(_) => return End::Malformed,
        }
    }
    reader.end().map_or(End::Cut, End::Closed)
}

/// Reads it whole, cut in two at each place, and byte by byte; all must agree.
fn read_every_way(response: &[u8]) -> End {
    let whole = read([response]);
    for at in 0..=response.len() {
        let (front, back) = response.split_at(at);
        let pieces = [front, back].into_iter().filter(|piece| !piece.is_empty());
        assert_eq!(read(pieces), whole, "cut at {at}: {}", String::from_utf8_lossy(response));
    }
    assert_eq!(read(response.chunks(1)), whole, "byte by byte: {}", String::from_utf8_lossy(response));
    whole
}

fn done(status: u16, keep: bool, consumed: usize) -> End {
    End::Done { status, keep, consumed }
}

#[test]
fn a_complete_response_is_the_same_however_it_is_cut() {
    // (response, status, whether the connection is kept); all of it is consumed.
    let table: &[(&str, u16, bool)] = &[
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, true),
        ("HTTP/1.1 200\r\ncontent-length:5\r\n\r\nhello", 200, true),
        ("HTTP/1.1 503 \r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\nno", 503, true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", 200, true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", 200, true),
        ("HTTP/1.1 200 OK\r\nConnection: keep-alive, Close\r\nContent-Length: 2\r\n\r\nok", 200, false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, false),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", 200, false),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, true),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", 204, true),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", 304, true),
        ("HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", 999, true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, true),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: CHUNKED\r\n\r\n5\r\nhello\r\n00A\r\n0123456789\r\n0\r\n\r\n",
            200,
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b;c=\"d\"\r\nok\r\n0;x\r\nA: b\r\nC:\r\n\r\n",
            200,
            true,
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx",
            201,
            true,
        ),
    ];
    for (response, status, keep) in table {
        assert_eq!(read_every_way(response.as_bytes()), done(*status, *keep, response.len()), "{response}");
    }
}

#[test]
fn bytes_after_the_response_are_not_consumed() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
    ] {
        let with_junk = format!("{response}HTTP/1.1 500 Not Asked\r\n\r\n");
        assert_eq!(read([with_junk.as_bytes()]), done(response[9..12].parse().unwrap(), true, response.len()));
    }
}

#[test]
fn a_response_that_ends_early_is_cut_at_each_byte() {
    for response in [
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n",
    ] {
        for at in 0..response.len() {
            assert_eq!(read([&response.as_bytes()[..at]].into_iter().filter(|p| !p.is_empty())), End::Cut, "{at}");
        }
    }
}

#[test]
fn without_a_length_the_end_of_the_connection_ends_the_body() {
    let head = b"HTTP/1.1 200 OK\r\nServer: old\r\n\r\n";
    assert_eq!(read_every_way(head), End::Closed(200));
    assert_eq!(read_every_way(&[head.as_slice(), b"some body"].concat()), End::Closed(200));
    assert_eq!(read([&head[..head.len() - 1]]), End::Cut);
}

#[test]
fn a_body_over_the_limit_ends_with_its_status_and_the_connection() {
    let long = "x".repeat(BODY_LIMIT + 1);
    let status_only = |end| matches!(end, End::Done { status: 200, keep: false, .. });
    assert!(status_only(read([format!("HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n{long}").as_bytes()])));
    assert!(status_only(read([format!("HTTP/1.1 200 OK\r\n\r\n{long}").as_bytes()])));
    let chunked = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFF\r\n{long}");
    assert!(status_only(read([chunked.as_bytes()])));
    assert!(status_only(read(chunked.as_bytes().chunks(1))));
    let junk_after = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n{long}junk");
    assert!(status_only(read([junk_after.as_bytes()])), "what comes after the limit is not looked at");
    let exact = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_LIMIT}\r\n\r\n{}", &long[1..]);
    assert_eq!(read_every_way(exact.as_bytes()), done(200, true, exact.len()));
}

#[test]
fn what_is_not_strict_http_is_malformed() {
    let header = |line: &str| format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n");
    let chunks = |text: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{text}");
    let table = [
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n".to_owned(),
        "HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "HTTP/2 200 OK\r\n\r\n".to_owned(),
        "HTTP/1.2 200 OK\r\n\r\n".to_owned(),
        "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "SSH-2.0-OpenSSH_9.6\r\n".to_owned(),
        "\0\0\x06\x04\0\0\0\0\0".to_owned(),
        "http/1.1 200 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\nContent-Length: 0\n\r\n\r\n".to_owned(),
        header("Content-Length: 2\r\nTransfer-Encoding: chunked"),
        header("Transfer-Encoding: chunked\r\nContent-Length: 2"),
        header("Content-Length: 2\r\nContent-Length: 3"),
        header("Content-Length: 2, 3"),
        header("Content-Length: -1"),
        header("Content-Length: +1"),
        header("Content-Length: 0x1"),
        header("Content-Length: 1 1"),
        header("Content-Length:"),
        header("Content-Length: 2,"),
        header("Content-Length: 18446744073709551616"),
        header("Transfer-Encoding: gzip"),
        header("Transfer-Encoding: gzip, chunked"),
        header("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        header("A: b\r\n folded: c"),
        header("A: b\rc"),
        header("A: b\nc"),
        header("A: b\nC: d"),
        header("A: b\0c"),
        header("A : b"),
        header("A b"),
        header(": b"),
        header(&"A: b\r\n".repeat(101)),
        header(&format!("A: {}", "b".repeat(HEAD_LIMIT))),
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(17),
        chunks("\r\n"),
        chunks("g\r\n"),
        chunks("-1\r\n"),
        chunks("1\nx\r\n0\r\n\r\n"),
        chunks("1\r\nxy\r\n0\r\n\r\n"),
        chunks("1\r\nx\n0\r\n\r\n"),
        chunks("0000000000000001\r\nx\r\n0\r\n\r\n"),
        chunks("ffffffffffffffff\r\n"),
        chunks("1;a\nb\r\nx\r\n0\r\n\r\n"),
        chunks("1;\0\r\nx\r\n0\r\n\r\n"),
        chunks(&format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(HEAD_LIMIT + 1))),
        chunks("0\r\nno colon\r\n\r\n"),
        chunks("0\r\nA: b\r\n folded\r\n\r\n"),
        chunks("0\r\nA: b\nC: d\r\n\r\n"),
        chunks("0\r\n\rx"),
        chunks(&format!("0\r\n{}\r\n", "A: b\r\n".repeat(HEAD_LIMIT / 4 + 1))),
    ];
    for response in &table {
        assert_eq!(read_every_way(response.as_bytes()), End::Malformed, "{response:?}");
    }
}

#[test]
fn a_head_is_not_searched_again_for_each_byte() {
    // 32 KiB of head in single bytes: searched from the start each time, this would take seconds.
    let mut reader = ResponseReader::new(32 << 10, 0);
    let mut response = b"HTTP/1.1 200 OK\r\nA: ".to_vec();
    response.resize((32 << 10) - 4, b'a');
    for byte in response.chunks(1) {
        assert_eq!(reader.receive(byte), Progress::More);
    }
    assert_eq!(reader.receive(b"\r\n\r\n"), Progress::More);
    assert_eq!(reader.end(), Some(200));
}

proptest::proptest! {
    #[test]
    fn random_bytes_end_the_same_way_however_they_are_cut(
        mut data in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
        start in 0..5usize,
    ) {
        let starts: [&[u8]; 5] = [
            b"",
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 120\r\n\r\n",
        ];
        for cut in [1, 2, 7] {
            let mut input = vec![cut];
            input.extend_from_slice(starts[start]);
            input.extend_from_slice(&data);
            super::fuzz(&input);
        }
        // The same with bytes that mean something in the grammar.
        for byte in &mut data {
            *byte = b"\r\n:;0aA \tx,"[usize::from(*byte) % 11];
        }
        let mut input = vec![1];
        input.extend_from_slice(starts[start]);
        input.extend_from_slice(&data);
        super::fuzz(&input);
    }
}
