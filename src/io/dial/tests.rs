//! Order of addresses, and races between them, on loopback.

use std::net::TcpListener;

use super::*;

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 80))
}

fn at(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

fn run(addresses: &[SocketAddr], timeout: Duration) -> (Option<SocketAddr>, Vec<(SocketAddr, String)>) {
    let executor = glommio::LocalExecutorBuilder::default().io_memory(64 * 1024).make().unwrap();
    executor.run(async {
        let (won, failed) = race(addresses, timeout, Duration::from_secs(7), Clock::start()).await;
        (won.map(|(stream, address)| (assert_eq!(stream.peer_addr().unwrap(), address), address).1), failed)
    })
}

/// An address that neither takes nor refuses a connection: its queue of connections is full.
fn swallowing() -> (TcpListener, Vec<std::net::TcpStream>, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    let connect = |_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100));
    let streams = (0..4).map_while(|at| connect(at).ok()).collect();
    (listener, streams, address)
}

#[test]
fn connections_go_to_all_addresses_in_turn_and_each_executor_starts_elsewhere() {
    let all = [address(1), address(2), address(3)];
    let firsts = |index| {
        let mut rotation = Rotation { next: index, failed: Vec::new() };
        (0..4).map(|_| rotation.order(&all, at(0))[0]).collect::<Vec<_>>()
    };
    assert_eq!(firsts(0), [address(1), address(2), address(3), address(1)]);
    assert_eq!(firsts(1), [address(2), address(3), address(1), address(2)]);
}

#[test]
fn an_address_that_failed_is_tried_last_for_a_while() {
    let all = [address(1), address(2), address(3)];
    let mut rotation = Rotation { next: 0, failed: Vec::new() };
    rotation.failed(address(1), at(0));
    assert_eq!(rotation.order(&all, at(1)), [address(2), address(3), address(1)]);
    assert_eq!(rotation.order(&all, at(1)), [address(2), address(3), address(1)]);
    assert_eq!(rotation.order(&all, at(1)), [address(3), address(2), address(1)]);
    assert_eq!(rotation.order(&all, at(31)), all);
    rotation.failed(address(2), at(32));
    rotation.opened(address(2));
    assert_eq!(rotation.order(&all, at(33))[0], address(2));
}

#[test]
fn no_more_than_four_addresses_are_tried_for_one_connection() {
    let all: Vec<SocketAddr> = (1..9).map(address).collect();
    assert_eq!(
        Rotation { next: 6, failed: Vec::new() }.order(&all, at(0)),
        [address(7), address(8), address(1), address(2)]
    );
}

#[test]
fn the_next_address_is_tried_when_the_first_refuses() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let open = listener.local_addr().unwrap();
    let (won, failed) = run(&[closed, open], Duration::from_secs(2));
    assert_eq!((won, failed.len(), failed[0].0), (Some(open), 1, closed));
    let (won, failed) = run(&[closed, closed], Duration::from_secs(2));
    assert_eq!((won, failed.len()), (None, 2), "{failed:?}");
}

#[test]
fn an_address_that_swallows_packets_costs_a_part_of_the_time_and_not_the_connection() {
    let (_listener, _streams, dead) = swallowing();
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let open = listener.local_addr().unwrap();
    let began = std::time::Instant::now();
    let (won, _) = run(&[dead, open], Duration::from_secs(10));
    assert_eq!(won, Some(open));
    assert!(began.elapsed() < NEXT_AFTER * 5, "{:?}", began.elapsed());
    let (won, failed) = run(&[dead], Duration::from_millis(200));
    assert_eq!((won, failed.len()), (None, 1), "{failed:?}");
}

#[test]
fn sockets_find_out_by_themselves_that_a_peer_is_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let open = listener.local_addr().unwrap();
    let executor = glommio::LocalExecutorBuilder::default().io_memory(64 * 1024).make().unwrap();
    executor.run(async {
        let stream = open_one(open, Duration::from_secs(2), Duration::from_secs(7)).await.unwrap();
        let fd = stream.as_raw_fd();
        let fd = sys::borrow_fd(&fd);
        let socket = socket2::SockRef::from(&fd);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(7)));
        assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_TIME);
    });
}
