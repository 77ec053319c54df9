//! `rejected-file`: one thread appends what executors reject, and says for each line whether it is in the file.
//!
//! A line is written whole or not at all. Without room (the disk, `rejected-file-max-bytes`) the answer is no, the record
//! is answered 11, and the log says so once a minute. The file is not synced: it survives the end of the process, not
//! that of the machine's power.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::config::model::Rejected;
use crate::config::show_size;
use crate::delivery::engine::Engine;
use crate::delivery::rejects::RejectedLine;

/// Lines on their way to the thread. A full queue is no loss: executors keep the next ones for their next tick.
const QUEUE: usize = 256;

/// How long the end of the process waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

/// How often the log hears that the file takes nothing.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// The thread. It ends when the last [`Link`] is gone.
#[derive(Debug)]
pub struct RejectedFile(Option<JoinHandle<()>>);

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
    /// The file cannot be opened or created, or another process writes to it.
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
        let name = "ringpost-reject".to_owned();
        let thread = std::thread::Builder::new().name(name).spawn(move || serve(writer, &receive, &replies))?;
        Ok((RejectedFile(Some(thread)), links))
    }
}

impl Drop for RejectedFile {
    fn drop(&mut self) {
        let Some(thread) = self.0.take() else { return };
        // The executors' ends are gone: it writes what it has and ends. A panic there was logged. A disk that hangs must
        // not keep the process: nobody waits for those lines any more.
        let started = Instant::now();
        while !thread.is_finished() && started.elapsed() < LAST_LINES {
            std::thread::sleep(Duration::from_millis(5));
        }
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}

impl Link {
    /// Hands lines over and takes answers, without waiting for either.
    pub fn exchange(&mut self, engine: &mut Engine) {
        self.take_answers(engine);
        while let Some(line) = self.next.take().or_else(|| engine.next_rejected()) {
            match self.lines.try_send((self.executor, line)) {
                Ok(()) => {}
                Err(TrySendError::Full((_, line))) => {
                    self.next = Some(line);
                    break;
                }
                // The thread has ended, which is a defect: nothing is written any more. Lines that it took and did not
                // answer are older than this one.
                Err(TrySendError::Disconnected(_)) => {
                    self.take_answers(engine);
                    engine.rejected_written(false);
                }
            }
        }
        self.take_answers(engine);
    }

    fn take_answers(&mut self, engine: &mut Engine) {
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
    /// Locked: a second process would cut off what this one has written.
    file: File,
    path: std::path::PathBuf,
    max_bytes: u64,
    /// Half a line may stand at the end.
    torn: bool,
    complained: Option<Instant>,
}

impl Writer {
    fn open(config: &Rejected) -> io::Result<Writer> {
        // Records are in it: for nobody else's eyes.
        let file = File::options().append(true).create(true).mode(0o600).open(&config.file)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(io::Error::other("another process writes to it")),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let (path, max_bytes) = (config.file.clone(), config.max_bytes);
        Ok(Writer { file, path, max_bytes, torn: false, complained: None })
    }

    fn append(&mut self, line: &[u8]) -> bool {
        match self.try_append(line) {
            Ok(None) => true,
            Ok(Some(full)) => {
                self.complain(&full);
                false
            }
            Err(error) => {
                self.complain(&error);
                false
            }
        }
    }

    /// Appends a line, or says why there is no room for it.
    fn try_append(&mut self, line: &[u8]) -> io::Result<Option<String>> {
        // Asked for each time, since others may empty the file, as logrotate does.
        let before = self.file.metadata()?.len();
        if before.saturating_add(line.len() as u64) > self.max_bytes {
            let limit = show_size(self.max_bytes);
            return Ok(Some(format!("it would pass rejected-file-max-bytes ({limit})")));
        }
        if self.torn {
            self.file.write_all(b"\n")?;
            self.torn = false;
        }
        let written = self.file.write_all(line);
        if written.is_err() {
            // Half a line would make the next one unreadable. What was there before this line stays.
            self.torn = self.file.set_len(before).is_err();
        }
        written.map(|()| None)
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
        drop(writer);
        let again = Writer::open(&Rejected { file: file.clone(), max_bytes: 13 });
        assert!(!again.unwrap().append(b"1\n"), "what was there before counts");
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn one_process_writes_and_others_may_empty_the_file() {
        let (mut writer, file) = writer("shared", 12);
        let second = Writer::open(&Rejected { file: file.clone(), max_bytes: 12 });
        assert!(second.is_err_and(|error| error.to_string().contains("another process")));
        assert!(writer.append(b"1234567890\n"));
        assert!(!writer.append(b"1234567890\n"));
        File::options().write(true).truncate(true).open(&file).unwrap();
        assert!(writer.append(b"abc\n"));
        assert_eq!(std::fs::read(&file).unwrap(), b"abc\n");
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn a_full_disk_is_an_answer_and_no_end() {
        let mut writer = Writer::open(&Rejected { file: "/dev/full".into(), max_bytes: 1 << 20 }).unwrap();
        assert!(!writer.append(b"1\n"));
        assert!(!writer.append(b"1\n"));
    }
}
