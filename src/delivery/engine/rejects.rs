//! Lines for `rejected-file`: handed to I/O, and what became of them.

use super::super::answer::{Answer, Cause};
use super::super::rejects::RejectedLine;
use super::Engine;
use super::intake::more;
use crate::time::Time;
use crate::wire::ack;

impl Engine {
    /// A record that was to be given up is not in the file, as it takes lines too slowly.
    pub(super) fn report_unkept(&mut self, now: Time) {
        if let Some(left_out) = self.limited.unkept.allow(now) {
            tracing::warn!(target: "server",
                "rejected-file does not take records as fast as they come: one was answered 11, so the server sends it again{}", more(left_out));
        }
    }

    /// The next line to append to `rejected-file`. For each one I/O calls [`Engine::rejected_written`], in this order.
    pub fn next_rejected(&mut self) -> Option<RejectedLine> {
        self.rejects.next_line()
    }

    /// The oldest line that was handed out is in the file, or could not be written: its record is answered 10, or 11.
    pub fn rejected_written(&mut self, written: bool) {
        let code = if written { ack::PERMANENT } else { ack::TEMPORARY };
        if written {
            self.counters.rejected_kept += 1;
        } else {
            self.counters.rejected_refused += 1;
        }
        if let Some((source, number)) = self.rejects.ended() {
            self.answer(source, number, Answer::new(code, Cause::Content));
        }
    }
}
