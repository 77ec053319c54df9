//! What this machine lets the process use.

/// Cores that this process may use, ascending: its affinity mask, cut to the CPU quota of its cgroup, rounded up.
pub fn usable_cores() -> Vec<usize> {
    let mut cores: Vec<usize> = core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
    cores.sort_unstable();
    if let Some(quota) = cpu_quota() {
        cores.truncate(quota.max(1));
    }
    cores
}

/// CPUs that the cgroup's quota allows, rounded up; `None`: no quota, or none that can be read.
fn cpu_quota() -> Option<usize> {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let v2 = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let v1 = own
        .lines()
        .find_map(|line| line.split(':').nth(1)?.split(',').any(|c| c == "cpu").then(|| line.rsplit(':').next())?);
    let mut quotas = Vec::new();
    // The tightest one above us holds. Inside a container the path may not exist; its own root does.
    for ancestor in std::path::Path::new(v2).ancestors() {
        let path = std::path::Path::new("/sys/fs/cgroup").join(ancestor.strip_prefix("/").unwrap_or(ancestor));
        quotas.extend(std::fs::read_to_string(path.join("cpu.max")).ok().and_then(|text| quota_v2(&text)));
    }
    for ancestor in std::path::Path::new(v1.unwrap_or("/")).ancestors() {
        let path = std::path::Path::new("/sys/fs/cgroup/cpu").join(ancestor.strip_prefix("/").unwrap_or(ancestor));
        let read = |name| std::fs::read_to_string(path.join(name)).ok();
        let both = read("cpu.cfs_quota_us").zip(read("cpu.cfs_period_us"));
        quotas.extend(both.and_then(|(quota, period)| quota_v2(&format!("{} {}", quota.trim(), period.trim()))));
    }
    quotas.into_iter().min()
}

/// `max 100000` is no quota, `150000 100000` is two cores; version 1 writes -1 for none.
fn quota_v2(text: &str) -> Option<usize> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (usize, usize) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0).then(|| quota.div_ceil(period))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_rounded_up_to_whole_cores() {
        assert_eq!(quota_v2("max 100000\n"), None);
        assert_eq!(quota_v2("150000 100000\n"), Some(2));
        assert_eq!(quota_v2("200000 100000"), Some(2));
        assert_eq!(quota_v2("-1 100000"), None);
        assert_eq!(quota_v2("1 0"), None);
    }

    #[test]
    fn there_is_a_usable_core() {
        let cores = usable_cores();
        assert!(!cores.is_empty() && cores.is_sorted(), "{cores:?}");
    }
}
