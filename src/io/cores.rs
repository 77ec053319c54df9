//! Which cores this process may use, and which of them its executors get.

use std::path::Path;

use crate::config::model::Cores;
use crate::config::show_cores;

/// The configuration asks for cores that are not there.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CoresError {
    /// The affinity of the process could not be read.
    #[error(
        "the cores of this process cannot be read (sched_getaffinity); set executors.cores to a number and executors.pin to false"
    )]
    Unreadable,
    /// More cores than there are.
    #[error(
        "executors.cores: {wanted} cores are asked for, and {usable} can be used (cores {list}; the affinity mask, cut to the CPU quota of the cgroup); write at most {usable}, or `all`"
    )]
    TooMany {
        /// Asked for.
        wanted: usize,
        /// There are.
        usable: usize,
        /// Which.
        list: String,
    },
    /// A core that does not exist or may not be used.
    #[error("executors.cores: core {core} does not exist or may not be used by this process; it may use cores {list}")]
    Unusable {
        /// Asked for.
        core: usize,
        /// There are.
        list: String,
    },
}

/// What the process may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usable {
    /// Cores of the affinity mask, ascending.
    pub mask: Vec<usize>,
    /// The CPU quota of the cgroup in cores, rounded up.
    pub quota: Option<usize>,
}

impl Usable {
    /// Reads affinity and cgroup.
    pub fn read() -> Result<Usable, CoresError> {
        let mut mask: Vec<usize> =
            core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
        mask.sort_unstable();
        if mask.is_empty() {
            return Err(CoresError::Unreadable);
        }
        Ok(Usable { mask, quota: cgroup_quota(Path::new("/proc/self/cgroup"), Path::new("/sys/fs/cgroup")) })
    }

    fn count(&self) -> usize {
        self.quota.map_or(self.mask.len(), |quota| quota.clamp(1, self.mask.len()))
    }

    /// The cores for the executors, one each.
    pub fn choose(&self, cores: &Cores) -> Result<Vec<usize>, CoresError> {
        let count = match cores {
            Cores::All => self.count(),
            Cores::AtMost(wanted) => self.count().min(*wanted),
            Cores::Count(wanted) if *wanted > self.count() => {
                return Err(CoresError::TooMany {
                    wanted: *wanted,
                    usable: self.count(),
                    list: show_cores(&self.mask),
                });
            }
            Cores::Count(wanted) => *wanted,
            Cores::List(list) => {
                if let Some(core) = list.iter().find(|core| !self.mask.contains(core)) {
                    return Err(CoresError::Unusable { core: *core, list: show_cores(&self.mask) });
                }
                return Ok(list.clone());
            }
        };
        Ok(self.mask.iter().copied().take(count.max(1)).collect())
    }
}

/// The lowest quota on the way from the process's cgroup to the root, of version 2 or 1.
fn cgroup_quota(own: &Path, root: &Path) -> Option<usize> {
    let text = std::fs::read_to_string(own).ok()?;
    let mut lowest: Option<usize> = None;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let base = if controllers.is_empty() {
            root.to_path_buf()
        } else if controllers.split(',').any(|name| name == "cpu") {
            root.join(controllers)
        } else {
            continue;
        };
        // In a container the path is the host's and the mount is the container's own: the root is looked at, too.
        let own = base.join(path.trim_start_matches('/'));
        for folder in own.ancestors().take_while(|folder| folder.starts_with(&base)) {
            if let Some(quota) = folder_quota(folder) {
                lowest = Some(lowest.map_or(quota, |lowest| lowest.min(quota)));
            }
        }
    }
    lowest
}

fn folder_quota(folder: &Path) -> Option<usize> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let (quota, period) = match read("cpu.max") {
        Some(text) => {
            let mut words = text.split_whitespace();
            (words.next()?.parse::<u64>().ok()?, words.next()?.parse::<u64>().ok()?)
        }
        None => {
            let quota = read("cpu.cfs_quota_us")?.trim().parse::<i64>().ok()?;
            (u64::try_from(quota).ok()?, read("cpu.cfs_period_us")?.trim().parse::<u64>().ok()?)
        }
    };
    if period == 0 {
        return None;
    }
    usize::try_from(quota.div_ceil(period)).ok().map(|cores| cores.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usable(mask: &[usize], quota: Option<usize>) -> Usable {
        Usable { mask: mask.to_vec(), quota }
    }

    #[test]
    fn all_is_the_mask_cut_to_the_quota() {
        assert_eq!(usable(&[2, 3, 5], None).choose(&Cores::All), Ok(vec![2, 3, 5]));
        assert_eq!(usable(&[2, 3, 5], Some(2)).choose(&Cores::All), Ok(vec![2, 3]));
        assert_eq!(usable(&[2, 3], Some(9)).choose(&Cores::All), Ok(vec![2, 3]));
        assert_eq!(usable(&[0, 1, 2, 3], None).choose(&Cores::AtMost(100)), Ok(vec![0, 1, 2, 3]));
        assert_eq!(usable(&[0, 1, 2, 3], None).choose(&Cores::AtMost(2)), Ok(vec![0, 1]));
    }

    #[test]
    fn a_core_that_is_not_there_is_named_with_those_that_are() {
        let error = usable(&[0, 1, 2, 6], None).choose(&Cores::List(vec![1, 64])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("core 64") && text.contains("0-2,6"), "{text}");
        let error = usable(&[0, 1], None).choose(&Cores::Count(3)).unwrap_err();
        assert!(error.to_string().contains("at most 2"), "{error}");
    }

    #[test]
    fn quotas_of_both_cgroup_versions_are_read_and_rounded_up() {
        let folder = std::env::temp_dir().join(format!("ringpost-cgroup-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("fs/a/b")).unwrap();
        std::fs::create_dir_all(folder.join("fs/cpu,cpuacct/x")).unwrap();
        std::fs::write(folder.join("own2"), "0::/a/b\n").unwrap();
        std::fs::write(folder.join("fs/a/cpu.max"), "150000 100000\n").unwrap();
        std::fs::write(folder.join("fs/a/b/cpu.max"), "max 100000\n").unwrap();
        assert_eq!(cgroup_quota(&folder.join("own2"), &folder.join("fs")), Some(2));
        std::fs::write(folder.join("own1"), "4:memory:/x\n3:cpu,cpuacct:/x\n").unwrap();
        std::fs::write(folder.join("fs/cpu,cpuacct/x/cpu.cfs_quota_us"), "300001\n").unwrap();
        std::fs::write(folder.join("fs/cpu,cpuacct/x/cpu.cfs_period_us"), "100000\n").unwrap();
        assert_eq!(cgroup_quota(&folder.join("own1"), &folder.join("fs")), Some(4));
        std::fs::write(folder.join("fs/cpu,cpuacct/x/cpu.cfs_quota_us"), "-1\n").unwrap();
        assert_eq!(cgroup_quota(&folder.join("own1"), &folder.join("fs")), None);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
