//! A connector that delivers nothing and acks everything 0: what the source costs alone.
//!
//! `cargo run --release -p ringpost-load --example null_ack -- 127.0.0.1:8080 SECONDS`

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use ringpost_load::source::ack;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| String::from("127.0.0.1:8080"));
    let seconds = arguments.next().map_or(Ok(60), |text| text.parse())?;
    let listener = TcpListener::bind(address)?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    std::thread::sleep(Duration::from_secs(seconds));
    Ok(())
}

/// Skips over frames by their length; one write of acks per read.
fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut input, mut filled, mut acks) = (vec![0; 1 << 20], 0, Vec::new());
    loop {
        let length = stream.read(input.get_mut(filled..).unwrap_or_default())?;
        if length == 0 {
            return Ok(());
        }
        filled += length;
        let mut at = 0;
        while let Some(header) = input.get(at..filled).and_then(|rest| rest.first_chunk::<8>()) {
            let size = usize::try_from(u64::from_be_bytes(*header) & 0xFFFF_FFFF_FFFF).unwrap_or(usize::MAX);
            if filled - at < 8 + size {
                break;
            }
            at += 8 + size;
            acks.extend_from_slice(&ack::encode(0));
        }
        input.copy_within(at..filled, 0);
        filled -= at;
        stream.write_all(&acks)?;
        acks.clear();
    }
}
