//! The log file, a new one each day (GMT, as in the lines): `NAME.log` becomes `NAME-2026-11-24.log`, and those that are older
//! than `max-history` days are deleted. All of it on the writer's thread.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::layout;

const SECONDS_A_DAY: u64 = 86_400;

/// How often is looked whether somebody moved the file away.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Files of one day, if the clock was set back and forth: `NAME-2026-11-24.1.log` and so on.
const MOST_OF_A_DAY: u32 = 100;

/// The file that is written now.
#[derive(Debug)]
pub struct Rotating {
    path: PathBuf,
    max_history: u32,
    file: BufWriter<File>,
    /// Days since 1970 of what is in it.
    day: u64,
    looked: Duration,
}

impl Rotating {
    /// Opens it for appending. What is there from an earlier day is put aside first.
    ///
    /// # Errors
    /// It cannot be opened. What goes wrong with older files is told by [`Rotating::prepare`] later on.
    pub fn open(path: &Path, max_history: u32) -> io::Result<Rotating> {
        let now = since_epoch();
        let mut opened = Rotating {
            path: path.to_owned(),
            max_history,
            file: BufWriter::new(append(path)?),
            day: day_of(now),
            looked: now,
        };
        let about = opened.file.get_ref().metadata()?;
        let written = about.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        if about.is_file() && about.len() > 0 {
            opened.day = day_of(written);
        }
        Ok(opened)
    }

    /// To be called before a line is written at `now`.
    ///
    /// # Errors
    /// The old file could not be put aside, or an older one not be deleted; lines go on where they did.
    pub fn prepare(&mut self, now: Duration) -> io::Result<()> {
        let today = day_of(now);
        if today > self.day {
            let before = std::mem::replace(&mut self.day, today);
            self.file.flush()?;
            // A pipe or a device is not put aside.
            if self.file.get_ref().metadata()?.is_file() {
                self.put_aside(before)?;
                self.file = BufWriter::new(append(&self.path)?);
                return self.forget(today);
            }
        } else if now.saturating_sub(self.looked) >= LOOK_EVERY {
            self.looked = now;
            return self.find_again();
        }
        Ok(())
    }

    /// Writes lines.
    ///
    /// # Errors
    /// As the file system says.
    pub fn write_all(&mut self, lines: &[u8]) -> io::Result<()> {
        self.file.write_all(lines)
    }

    /// Hands what is gathered to the system.
    ///
    /// # Errors
    /// As the file system says.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    /// Somebody moved the file away (`mv`, logrotate): lines go to a new one of its name.
    fn find_again(&mut self) -> io::Result<()> {
        let mine = self.file.get_ref().metadata()?;
        let there = std::fs::metadata(&self.path).ok();
        if there.is_some_and(|there| (there.dev(), there.ino()) == (mine.dev(), mine.ino())) || !mine.is_file() {
            return Ok(());
        }
        self.file.flush()?;
        self.file = BufWriter::new(append(&self.path)?);
        Ok(())
    }

    fn put_aside(&self, day: u64) -> io::Result<()> {
        for number in 0..MOST_OF_A_DAY {
            let target = self.path.with_file_name(self.name_of(day, number));
            if !target.exists() {
                return std::fs::rename(&self.path, target);
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "there are a hundred files of that day"))
    }

    fn forget(&self, today: u64) -> io::Result<()> {
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let (start, end) = self.parts();
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let middle = name.strip_prefix(&start).and_then(|rest| rest.strip_suffix(&end));
            let Some(day) = middle.and_then(day_in) else { continue };
            if day + u64::from(self.max_history) < today && entry.file_type()?.is_file() {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// What stands before and behind the date.
    fn parts(&self) -> (String, String) {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        match name.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => (format!("{stem}-"), format!(".{extension}")),
            _ => (format!("{name}-"), String::new()),
        }
    }

    fn name_of(&self, day: u64, number: u32) -> String {
        let (start, end) = self.parts();
        let more = if number == 0 { String::new() } else { format!(".{number}") };
        format!("{start}{}{more}{end}", layout::date(day))
    }
}

/// The day of `2026-11-24` or `2026-11-24.3`, in days since 1970.
fn day_in(text: &str) -> Option<u64> {
    let (date, number) = text.split_once('.').unwrap_or((text, "0"));
    number.parse::<u32>().ok()?;
    let mut parts = date.splitn(3, '-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let is_date = (year.len(), month.len(), day.len()) == (4, 2, 2);
    let (year, month, day): (u64, u64, u64) = (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
    if !is_date || year < 1970 {
        return None;
    }
    // From the end of the day's year backwards there are few days to look at.
    let first = (year - 1970) * 365;
    (first..first + 600).find(|days| layout::date(*days) == format!("{year:04}-{month:02}-{day:02}"))
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

fn day_of(since_epoch: Duration) -> u64 {
    since_epoch.as_secs() / SECONDS_A_DAY
}

/// The wall clock.
pub fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(SECONDS_A_DAY);

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("ringpost-rotate-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn each_day_has_a_file_and_those_beyond_max_history_go() {
        let folder = folder("days");
        // None of ours, whatever it looks like.
        let others = ["a-2020-01-01.log.gz", "a-2020-1-1.log", "b-2020-01-01.log", "a-.log", "a-2020-13-01.log"];
        others.iter().for_each(|name| std::fs::write(folder.join(name), "x").unwrap());
        std::fs::write(folder.join("a-2020-01-01.log"), "old").unwrap();
        let mut log = Rotating::open(&folder.join("a.log"), 2).unwrap();
        let start = since_epoch();
        for day in 0..5u32 {
            log.prepare(start + DAY * day).unwrap();
            log.write_all(format!("day {day}\n").as_bytes()).unwrap();
        }
        log.flush().unwrap();
        let name = |day: u32| format!("a-{}.log", layout::date(day_of(start + DAY * day)));
        let mut expected: Vec<String> = others.iter().map(|name| (*name).to_owned()).collect();
        expected.extend([name(2), name(3), "a.log".to_owned()]);
        expected.sort();
        assert_eq!(names(&folder), expected);
        assert_eq!(std::fs::read_to_string(folder.join("a.log")).unwrap(), "day 4\n");
        assert_eq!(std::fs::read_to_string(folder.join(name(3))).unwrap(), "day 3\n");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_a_run_of_an_earlier_day_left_is_put_aside_and_nothing_is_overwritten() {
        let folder = folder("restart");
        let path = folder.join("log");
        let yesterday = since_epoch().checked_sub(DAY).unwrap();
        let aside = |number: &str| folder.join(format!("log-{}{number}", layout::date(day_of(yesterday))));
        std::fs::write(aside(""), "before").unwrap();
        std::fs::write(&path, "yesterday\n").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(UNIX_EPOCH + yesterday).unwrap();
        let mut log = Rotating::open(&path, 30).unwrap();
        log.prepare(since_epoch()).unwrap();
        log.write_all(b"today\n").unwrap();
        log.flush().unwrap();
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!(
            (read(&path), read(&aside("")), read(&aside(".1"))),
            ("today\n".into(), "before".into(), "yesterday\n".into())
        );
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew() {
        let folder = folder("moved");
        let path = folder.join("a.log");
        let mut log = Rotating::open(&path, 30).unwrap();
        let start = since_epoch();
        log.write_all(b"one\n").unwrap();
        std::fs::rename(&path, folder.join("a.log.1")).unwrap();
        log.prepare(start + LOOK_EVERY).unwrap();
        log.write_all(b"two\n").unwrap();
        log.flush().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(std::fs::read_to_string(folder.join("a.log.1")).unwrap(), "one\n");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn dates_are_read_as_they_are_written() {
        for day in [0, 58, 59, 60, 365, 11_016, 20_000, 20_781, 47_540] {
            assert_eq!(day_in(&layout::date(day)), Some(day));
        }
        for bad in ["", "2026-11", "2026-11-31", "2026-1-01", "1969-12-31", "2026-11-24.x", "x"] {
            assert_eq!(day_in(bad), None, "{bad}");
        }
    }
}
