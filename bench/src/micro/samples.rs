//! The records that are measured.

/// A record as a message body, with its name in the report.
pub struct Sample {
    pub name: &'static str,
    pub body: Vec<u8>,
}

const STRING: u8 = 3;
const MAP: u8 = 19;
const LIST: u8 = 20;

/// A user's row of 250 bytes (frame header included), one of 2 KiB with long texts, and one of nested lists and maps.
pub fn all() -> Vec<Sample> {
    vec![
        Sample { name: "250 B, 5 bins", body: small() },
        Sample { name: "2 KiB, 12 bins", body: large() },
        Sample { name: "lists and maps", body: nested() },
    ]
}

fn small() -> Vec<u8> {
    let mut record = Builder::new();
    record.bin(1, b"id", &8_273_645_091_u64.to_be_bytes());
    record.bin(STRING, b"name", b"Anna Maria Kowalska-Lindqvist");
    record.bin(STRING, b"email", b"anna.kowalska@example.org");
    record.bin(2, b"score", &1234.5625_f64.to_be_bytes());
    record.bin(17, b"active", &[1]);
    record.finish()
}

fn large() -> Vec<u8> {
    let mut record = Builder::new();
    record.bin(1, b"id", &8_273_645_091_u64.to_be_bytes());
    record.bin(2, b"balance", &(-98_765.432_1_f64).to_be_bytes());
    record.bin(17, b"active", &[1]);
    record.bin(1, b"visits", &42_u64.to_be_bytes());
    let sentence = "The quick brown fox said \"hello\" to the lazy dog, and went on its way.\n";
    for (name, repeats) in [(&b"text1"[..], 4), (b"text2", 5), (b"text3", 6)] {
        record.bin(STRING, name, sentence.repeat(repeats).as_bytes());
    }
    record.bin(STRING, b"city", "Gdańsk, województwo pomorskie".as_bytes());
    record.bin(STRING, b"country", b"Poland");
    record.bin(4, b"hash", &[0xA5; 512]);
    record.bin(STRING, b"uuid", b"0f8fad5b-d9cb-469f-a165-70867728950e");
    record.bin(23, b"place", b"\x00\x00\x00{\"type\": \"Point\", \"coordinates\": [18.646638, 54.352025]}");
    record.finish()
}

fn nested() -> Vec<u8> {
    let mut orders = vec![0xdc, 0, 20];
    for order in 0..20_u8 {
        orders.push(0x84);
        text(&mut orders, "sku");
        text(&mut orders, "A-1234-5678");
        text(&mut orders, "count");
        orders.push(order);
        text(&mut orders, "price");
        orders.push(0xcb);
        orders.extend_from_slice(&(f64::from(order) * 1.25 + 0.1).to_be_bytes());
        text(&mut orders, "tags");
        orders.push(0x92);
        text(&mut orders, "new");
        text(&mut orders, "sale");
    }
    // A map that the server keeps ordered by key.
    let mut days = vec![0xde, 0, 31, 0xc7, 0, 1, 0xc0];
    for day in 1..31_u8 {
        days.extend_from_slice(&[day, 0xcd, day, 0x80]);
    }
    let mut record = Builder::new();
    record.bin(LIST, b"orders", &orders);
    record.bin(MAP, b"days", &days);
    record.finish()
}

/// A string of fewer than 31 bytes in Aerospike's MessagePack, whose first byte is its type.
fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&[0xa1 + text.len() as u8, STRING]);
    out.extend_from_slice(text.as_bytes());
}

/// Puts a message together: namespace, set, key, digest, last-update time, then bins.
struct Builder {
    body: Vec<u8>,
    bins: u16,
}

impl Builder {
    fn new() -> Builder {
        let mut body = vec![22, 0x10, 0x01, 0x10, 0, 0, 0, 0, 0, 2, 0, 0x27, 0x8d, 0, 0, 0, 0, 0, 0, 5, 0, 0];
        let fields: [(u8, &[u8]); 5] = [
            (0, b"test"),
            (4, &[0xC5; 20]),
            (1, b"users"),
            (2, &[1, 0, 0, 0, 0, 0, 1, 0x86, 0xA3]),
            (14, &[0, 0, 0, 0x6d, 0xc9, 0xdd, 0x69, 0x98]),
        ];
        for (kind, data) in fields {
            body.extend_from_slice(&(data.len() as u32 + 1).to_be_bytes());
            body.push(kind);
            body.extend_from_slice(data);
        }
        Builder { body, bins: 0 }
    }

    fn bin(&mut self, kind: u8, name: &[u8], value: &[u8]) {
        self.bins += 1;
        self.body.extend_from_slice(&((4 + name.len() + value.len()) as u32).to_be_bytes());
        self.body.extend_from_slice(&[2, kind, 0, name.len() as u8]);
        self.body.extend_from_slice(name);
        self.body.extend_from_slice(value);
    }

    fn finish(mut self) -> Vec<u8> {
        if let Some(count) = self.body.get_mut(20..22) {
            count.copy_from_slice(&self.bins.to_be_bytes());
        }
        self.body
    }
}
