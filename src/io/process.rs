//! Figures of this process and its machine, from `/proc`.

use std::time::Duration;

use crate::admin::view::Process;

/// Clock ticks a second in `/proc`: the same on every Linux that there is.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time at one time, in ticks: of this process; of all cores, busy and in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ticks {
    own: u64,
    busy: u64,
    all: u64,
}

/// Reads the figures, and remembers CPU times for the loads.
#[derive(Debug, Default)]
pub struct Sampler {
    before: Option<Ticks>,
    loads: Option<(f64, f64)>,
}

impl Sampler {
    /// Takes the loads anew, over the time since the last call. To be called every few seconds.
    pub fn sample(&mut self) {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let now = read("/proc/self/stat").zip(read("/proc/stat")).and_then(|(own, all)| ticks(&own, &all));
        if let (Some(before), Some(now)) = (self.before, now)
            && now.all > before.all
        {
            let share = |part: u64| 100.0 * part as f64 / (now.all - before.all) as f64;
            let own = share(now.own.saturating_sub(before.own));
            self.loads = Some((own.min(100.0), share(now.busy.saturating_sub(before.busy)).min(100.0)));
        }
        self.before = now;
    }

    /// The figures of now.
    pub fn read(&self) -> Process {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let status = read("/proc/self/status");
        let kib = |key: &str| field(&status, key).map(|kib| kib * 1024);
        Process {
            cpu: own_ticks(&read("/proc/self/stat"))
                .map(|ticks| Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)),
            resident: kib("VmRSS:"),
            virtual_memory: kib("VmSize:"),
            // The descriptor of the folder that is read is one of them.
            descriptors: std::fs::read_dir("/proc/self/fd").ok().map(|all| (all.count() as u64).saturating_sub(1)),
            max_descriptors: max_open_files(&read("/proc/self/limits")),
            threads: field(&status, "Threads:"),
            process_load: self.loads.map(|(own, _)| own),
            system_load: self.loads.map(|(_, all)| all),
        }
    }
}

/// When this process started, in seconds since 1970.
pub fn started() -> f64 {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let boot = field(&read("/proc/stat"), "btime").unwrap_or(0);
    let since_boot = after_name(&read("/proc/self/stat")).and_then(|fields| fields.get(19).copied()).unwrap_or(0);
    boot as f64 + since_boot as f64 / TICKS_PER_SECOND as f64
}

/// The number behind a key at the start of a line.
fn field(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Numbers behind the name, which may have blanks and brackets in it; what is no number is 0.
fn after_name(stat: &str) -> Option<Vec<u64>> {
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
}

fn own_ticks(stat: &str) -> Option<u64> {
    let fields = after_name(stat)?;
    Some(fields.get(11)? + fields.get(12)?)
}

fn ticks(own: &str, all: &str) -> Option<Ticks> {
    let line = all.lines().next()?.strip_prefix("cpu ")?;
    // Guest time, behind these, is a part of the first two.
    let fields: Vec<u64> = line.split_whitespace().take(8).filter_map(|field| field.parse().ok()).collect();
    let sum: u64 = fields.iter().sum();
    let idle = fields.get(3)? + fields.get(4).copied().unwrap_or(0);
    Some(Ticks { own: own_ticks(own)?, busy: sum.saturating_sub(idle), all: sum })
}

fn max_open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_blanks_and_brackets_do_not_shift_the_fields() {
        let stat = "12 (a b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 5 0 4200 1 2";
        assert_eq!(own_ticks(stat), Some(300));
        assert_eq!(after_name(stat).unwrap()[19], 4200);
    }

    #[test]
    fn load_is_what_is_neither_idle_nor_waiting_for_a_disk() {
        let own = "1 (x) S 1 2 3 4 5 6 7 8 9 10 20 10 0";
        assert_eq!(ticks(own, "cpu  100 0 50 800 50 0 0 0 7 7\n"), Some(Ticks { own: 30, busy: 150, all: 1000 }));
        assert_eq!(
            max_open_files("Max open files            1024                 4096                 files\n"),
            Some(1024)
        );
    }

    #[test]
    fn this_process_has_figures() {
        let process = Sampler::default().read();
        assert!(process.resident.unwrap() > 100_000 && process.threads.unwrap() > 0, "{process:?}");
        assert!(process.descriptors.unwrap() >= 3 && process.max_descriptors.unwrap() >= process.descriptors.unwrap());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((0.0..86_400.0).contains(&(now - started())), "{} and now {now}", started());
    }
}
