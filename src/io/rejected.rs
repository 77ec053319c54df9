//! `rejected-file`: one thread appends what executors reject, and says for each line whether it is in the file.
//!
//! A line is written whole or not at all. Without room (the disk, `rejected-file-max-bytes`) the answer is no, the record
//! is answered 11, and the log says so once a minute. The file is not synced: it survives the end of the process, not
//! that of the machine's power. What is half a line at start stays one, and is ended.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::time::{Duration, Instant};

use crate::config::model::Rejected;
use crate::config::show_size;
use crate::delivery::engine::Engine;
use crate::delivery::rejects::RejectedLine;

/// Lines on their way to the thread. A full queue is no loss: executors keep the next ones for their next tick.
const QUEUE: usize = 256;

/// How often the log hears that the file takes nothing.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// How long the end of the process waits for the thread. A write can stand still for good (a file on a server that went
/// away), and nobody waits for its answer any more: what was not written was not answered 10.
const END_WAIT: Duration = Duration::from_secs(1);

/// The thread. It ends when the last [`Link`] is gone.
#[derive(Debug)]
pub struct RejectedFile {
    path: std::path::PathBuf,
    /// Its other end is dropped when the thread ends.
    running: Receiver<()>,
}

/// One executor's end.
#[derive(Debug)]
pub struct Link {
    executor: usize,
    lines: SyncSender<(usize, RejectedLine)>,
    written: Receiver<bool>,
    /// A line that found the queue full.
    next: Option<RejectedLine>,
}

impl RejectedFile {
    /// Opens the file and starts the thread.
    ///
    /// # Errors
    /// The file cannot be opened or created.
    pub fn start(config: &Rejected, executors: usize) -> io::Result<(RejectedFile, Vec<Link>)> {
        let writer = Writer::open(config)?;
        let (lines, receive) = sync_channel(QUEUE);
        let mut links = Vec::new();
        let mut replies = Vec::new();
        for executor in 0..executors {
            let (reply, written) = channel();
            replies.push(reply);
            links.push(Link { executor, lines: lines.clone(), written, next: None });
        }
        let (end, running) = channel();
        let name = "ringpost-reject".to_owned();
        std::thread::Builder::new().name(name).spawn(move || {
            let _end = end;
            serve(writer, &receive, &replies);
        })?;
        Ok((RejectedFile { path: config.file.clone(), running }, links))
    }
}

impl Drop for RejectedFile {
    fn drop(&mut self) {
        // The executors' ends are gone: it writes what it has and ends. A panic there was logged.
        if self.running.recv_timeout(END_WAIT) == Err(RecvTimeoutError::Timeout) {
            tracing::error!(target: "server",
                "rejected-file {} stands still, and is left as it is; records that were answered 10 are in it", self.path.display());
        }
    }
}

impl Link {
    /// Hands lines over and takes answers, without waiting for either.
    pub fn exchange(&mut self, engine: &mut Engine) {
        while let Some(line) = self.next.take().or_else(|| engine.next_rejected()) {
            match self.lines.try_send((self.executor, line)) {
                Ok(()) => {}
                Err(TrySendError::Full((_, line))) => {
                    self.next = Some(line);
                    break;
                }
                // The thread has ended, which is a defect: nothing is written any more.
                Err(TrySendError::Disconnected(_)) => engine.rejected_written(false),
            }
        }
        while let Ok(written) = self.written.try_recv() {
            engine.rejected_written(written);
        }
    }
}

fn serve(mut writer: Writer, lines: &Receiver<(usize, RejectedLine)>, replies: &[Sender<bool>]) {
    while let Ok((executor, line)) = lines.recv() {
        let written = writer.append(&line.bytes);
        if let Some(reply) = replies.get(executor) {
            // An executor that has ended waits for no answer.
            let _ = reply.send(written);
        }
    }
}

struct Writer {
    file: File,
    path: std::path::PathBuf,
    bytes: u64,
    max_bytes: u64,
    complained: Option<Instant>,
}

impl Writer {
    fn open(config: &Rejected) -> io::Result<Writer> {
        // Records are in it: for nobody else's eyes.
        let mut file = File::options().read(true).append(true).create(true).mode(0o600).open(&config.file)?;
        let mut bytes = file.metadata()?.len();
        let mut last = [b'\n'];
        if let Some(at) = bytes.checked_sub(1) {
            file.read_exact_at(&mut last, at)?;
        }
        if last != *b"\n" {
            file.write_all(b"\n")?;
            bytes += 1;
        }
        Ok(Writer { file, path: config.file.clone(), bytes, max_bytes: config.max_bytes, complained: None })
    }

    fn append(&mut self, line: &[u8]) -> bool {
        let after = self.bytes.saturating_add(line.len() as u64);
        if after > self.max_bytes {
            let limit = show_size(self.max_bytes);
            self.complain(&format_args!("it would pass rejected-file-max-bytes ({limit})"));
            return false;
        }
        match self.file.write_all(line) {
            Ok(()) => {
                self.bytes = after;
                true
            }
            Err(error) => {
                // Half a line would make the next one unreadable.
                let _ = self.file.set_len(self.bytes);
                self.complain(&error);
                false
            }
        }
    }

    fn complain(&mut self, why: &dyn std::fmt::Display) {
        if self.complained.is_none_or(|last| last.elapsed() >= COMPLAINT_INTERVAL) {
            self.complained = Some(Instant::now());
            tracing::error!(target: "server",
                "rejected-file {} takes no more: {why}; rejected records are answered 11 until it does, so the server sends them again: move the file away and restart, or make room",
                self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(name: &str, max_bytes: u64) -> (Writer, std::path::PathBuf) {
        let file = std::env::temp_dir().join(format!("ringpost-rejected-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&file);
        (Writer::open(&Rejected { file: file.clone(), max_bytes }).unwrap(), file)
    }

    #[test]
    fn lines_are_appended_until_the_file_is_full() {
        let (mut writer, file) = writer("full", 12);
        assert!(writer.append(b"12345\n"));
        assert!(writer.append(b"12345\n"));
        assert!(!writer.append(b"1\n"));
        assert_eq!(std::fs::read(&file).unwrap(), b"12345\n12345\n");
        let again = Writer::open(&Rejected { file: file.clone(), max_bytes: 13 });
        assert!(!again.unwrap().append(b"1\n"), "what was there before counts");
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn half_a_line_from_before_is_ended() {
        let (_, file) = writer("half", 100);
        std::fs::write(&file, b"12").unwrap();
        let mut writer = Writer::open(&Rejected { file: file.clone(), max_bytes: 5 }).unwrap();
        assert!(writer.append(b"1\n"));
        assert!(!writer.append(b"1\n"), "the line feed counts");
        assert_eq!(std::fs::read(&file).unwrap(), b"12\n1\n");
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn a_full_disk_is_an_answer_and_no_end() {
        let mut writer = Writer::open(&Rejected { file: "/dev/full".into(), max_bytes: 1 << 20 }).unwrap();
        assert!(!writer.append(b"1\n"));
        assert!(!writer.append(b"1\n"));
    }
}
