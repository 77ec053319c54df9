//! XDR frames by hand, for records that the load generator does not make (xdr-protocol.md 1 to 4). Shares no code with
//! the connector.

use ringpost_load::record::Identity;

/// Types of values (xdr-protocol.md 4).
pub mod particle {
    pub const INTEGER: u8 = 1;
    pub const FLOAT: u8 = 2;
    pub const STRING: u8 = 3;
    pub const BLOB: u8 = 4;
    pub const BOOL: u8 = 17;
    pub const MAP: u8 = 19;
    pub const LIST: u8 = 20;
    pub const GEOJSON: u8 = 23;
}

/// One bin.
#[derive(Debug, Clone)]
pub struct Bin {
    /// 2: write.
    pub op: u8,
    pub particle: u8,
    pub name: Vec<u8>,
    pub value: Vec<u8>,
}

/// One notification, to be changed at will before it is written.
#[derive(Debug, Clone)]
pub struct Frame {
    pub namespace: Vec<u8>,
    pub set: Option<Vec<u8>>,
    /// Its first byte is its particle type.
    pub key: Option<Vec<u8>>,
    pub digest: [u8; 20],
    /// Milliseconds since 2010.
    pub lut: Option<u64>,
    pub generation: u32,
    pub is_delete: bool,
    pub bins: Vec<Bin>,
}

/// Milliseconds from 1970 to 2010.
pub const LUT_EPOCH_MS: u64 = 1_262_304_000_000;

impl Frame {
    /// A write of record `sequence` of run 1 in `test`/`demo`, with its sequence number in the bin `seq`.
    pub fn new(sequence: u64) -> Frame {
        let frame = Frame {
            namespace: b"test".to_vec(),
            set: Some(b"demo".to_vec()),
            key: None,
            digest: Identity { sequence, run: 1 }.digest(),
            lut: Some(471_538_166_168 + sequence),
            generation: 1,
            is_delete: false,
            bins: Vec::new(),
        };
        frame.bin("seq", particle::INTEGER, &sequence.to_be_bytes())
    }

    /// Without bins.
    pub fn delete(mut self) -> Frame {
        self.is_delete = true;
        self.bins.clear();
        self
    }

    pub fn bin(mut self, name: &str, particle: u8, value: &[u8]) -> Frame {
        self.bins.push(Bin { op: 2, particle, name: name.into(), value: value.to_vec() });
        self
    }

    pub fn namespace(mut self, name: impl AsRef<[u8]>) -> Frame {
        self.namespace = name.as_ref().to_vec();
        self
    }

    pub fn set(mut self, name: Option<&[u8]>) -> Frame {
        self.set = name.map(<[u8]>::to_vec);
        self
    }

    pub fn key(mut self, particle: u8, value: &[u8]) -> Frame {
        self.key = Some([&[particle], value].concat());
        self
    }

    /// With its proto header.
    pub fn bytes(&self) -> Vec<u8> {
        let (info2, info3) = if self.is_delete { (0x03, 0) } else { (0x01, 0x10) };
        let fields = 2 + [self.set.is_some(), self.key.is_some(), self.lut.is_some()].iter().filter(|is| **is).count();
        let mut message = vec![22, 0x10, info2, info3, 0, 0];
        message.extend_from_slice(&self.generation.to_be_bytes());
        message.extend_from_slice(&(if self.is_delete { 0 } else { u32::MAX }).to_be_bytes());
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(&(fields as u16).to_be_bytes());
        message.extend_from_slice(&(self.bins.len() as u16).to_be_bytes());
        let mut field = |kind: u8, data: &[u8]| {
            message.extend_from_slice(&(data.len() as u32 + 1).to_be_bytes());
            message.push(kind);
            message.extend_from_slice(data);
        };
        field(0, &self.namespace);
        field(4, &self.digest);
        self.set.iter().for_each(|set| field(1, set));
        self.key.iter().for_each(|key| field(2, key));
        self.lut.iter().for_each(|lut| field(14, &lut.to_be_bytes()));
        for bin in &self.bins {
            message.extend_from_slice(&((4 + bin.name.len() + bin.value.len()) as u32).to_be_bytes());
            message.extend_from_slice(&[bin.op, bin.particle, 0, bin.name.len() as u8]);
            message.extend_from_slice(&bin.name);
            message.extend_from_slice(&bin.value);
        }
        let mut bytes = (message.len() as u64).to_be_bytes().to_vec();
        bytes[..2].copy_from_slice(&[2, 3]);
        bytes.extend_from_slice(&message);
        bytes
    }
}
