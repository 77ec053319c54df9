//! `rejected-file`: one thread appends what executors reject, and says for each line whether it is in the file.
//!
//! A line is written whole or not at all. Without room (the disk, `rejected-file-max-bytes`) the answer is no, the record
//! is answered 11, and the log says so once a minute. The file is not synced: it survives the end of the process, not
//! that of the machine's power. What is half a line at start stays one, and is ended.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
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
        let (path, max_bytes) = (config.file.clone(), config.max_bytes);
        let file = open(&path)?;
        let torn = ends_in_half_a_line(&file)?;
        Ok(Writer { file, path, max_bytes, torn, complained: None })
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
        self.reopen_if_moved()?;
        // Asked for each time, since others may empty the file, as logrotate does.
        let before = self.file.metadata()?.len();
        if before.saturating_add(line.len() as u64) > self.max_bytes {
            let limit = show_size(self.max_bytes);
            return Ok(Some(format!("it would pass rejected-file-max-bytes ({limit})")));
        }
        let end_of_half = if self.torn { &b"\n"[..] } else { &[] };
        let written = self.file.write_all(end_of_half).and_then(|()| self.file.write_all(line));
        match &written {
            Ok(()) => self.torn = false,
            // Half a line would make the next one unreadable. What was there before stays, half a line included.
            Err(_) => self.torn |= self.file.set_len(before).is_err(),
        }
        written.map(|()| None)
    }

    /// A file that was renamed or removed is left to whoever did that; the next lines go to a new one.
    fn reopen_if_moved(&mut self) -> io::Result<()> {
        let (ours, named) = (self.file.metadata()?, std::fs::metadata(&self.path));
        if named.is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino())) {
            return Ok(());
        }
        let file = open(&self.path)?;
        self.torn = ends_in_half_a_line(&file)?;
        self.file = file;
        Ok(())
    }

    fn complain(&mut self, why: &dyn std::fmt::Display) {
        if self.complained.is_none_or(|last| last.elapsed() >= COMPLAINT_INTERVAL) {
            self.complained = Some(Instant::now());
            tracing::error!(target: "server",
                "rejected-file {} takes no more: {why}; rejected records are answered 11 until it does, so the server sends them again: move the file away, or make room",
                self.path.display());
        }
    }
}

/// Opens the file for this process alone. Records are in it: for nobody else's eyes.
fn open(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).append(true).create(true).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(io::Error::other("another process writes to it")),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether the last line has no end, since a process or a machine came to one while it was written.
fn ends_in_half_a_line(file: &File) -> io::Result<bool> {
    let mut last = [b'\n'];
    if let Some(at) = file.metadata()?.len().checked_sub(1) {
        file.read_exact_at(&mut last, at)?;
    }
    Ok(last != *b"\n")
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
    fn a_file_that_was_moved_away_is_begun_anew() {
        let (mut writer, file) = writer("moved", 100);
        assert!(writer.append(b"1\n"));
        let moved = file.with_extension("1");
        std::fs::rename(&file, &moved).unwrap();
        assert!(writer.append(b"2\n"));
        std::fs::remove_file(&file).unwrap();
        assert!(writer.append(b"3\n"));
        assert_eq!(std::fs::read(&moved).unwrap(), b"1\n");
        assert_eq!(std::fs::read(&file).unwrap(), b"3\n");
        [file, moved].iter().for_each(|file| std::fs::remove_file(file).unwrap());
    }

    #[test]
    fn a_full_disk_is_an_answer_and_no_end() {
        let mut writer = Writer::open(&Rejected { file: "/dev/full".into(), max_bytes: 1 << 20 }).unwrap();
        assert!(!writer.append(b"1\n"));
        assert!(!writer.append(b"1\n"));
    }
}
