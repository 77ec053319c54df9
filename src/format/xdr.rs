//! The frame as it came in, after decompression: for XDR proxies and others that read the wire format.
//!
//! Values are read all the same, so that a record which other formats answer 10 is answered 10 here.

use super::Notes;
use crate::record::{ChangeRecord, DecodeLimits, Fault, Operation, Particle, Place, RecordError, cdt};
use crate::wire::frame::{FrameKind, header};

/// What does not change from record to record, and scratch memory.
#[derive(Debug)]
pub(super) struct Layout {
    limits: DecodeLimits,
    /// Bytes that a message may have.
    pub(super) most: usize,
    /// For [`cdt::walk`].
    open: Vec<u64>,
}

impl Layout {
    pub(super) const fn new(limits: DecodeLimits) -> Layout {
        Layout { limits, most: usize::MAX, open: Vec::new() }
    }

    /// Appends `record` to `out`.
    pub(super) fn encode(
        &mut self,
        record: &ChangeRecord<'_>,
        out: &mut Vec<u8>,
        notes: &mut Notes,
    ) -> Result<(), RecordError> {
        // The other formats do not look at what else is in a delete.
        if record.operation == Operation::Write {
            self.check(record, notes)?;
        }
        if record.body.len() > self.most {
            return Err(RecordError::new(Place::Metadata("the message"), 0, Fault::TooLarge(self.most)));
        }
        out.reserve(record.body.len() + 8);
        out.extend_from_slice(&header(FrameKind::Message, record.body.len()));
        out.extend_from_slice(record.body);
        Ok(())
    }

    fn check(&mut self, record: &ChangeRecord<'_>, notes: &mut Notes) -> Result<(), RecordError> {
        for bin in record.bins {
            let (cdt, is_map) = match bin.particle()? {
                Particle::List(cdt) => (cdt, false),
                Particle::Map(cdt) => (cdt, true),
                Particle::Unknown(..) => {
                    notes.unknown_particles += 1;
                    continue;
                }
                _ => continue,
            };
            let walked = cdt::walk(&cdt, is_map, self.limits.max_depth, &mut self.open);
            walked.map_err(|(fault, offset)| bin.error(fault, offset))?;
        }
        Ok(())
    }
}
