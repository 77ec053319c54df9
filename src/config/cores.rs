//! Which cores the executors get, of those that the process may use. Pure: the usable ones come in.

use super::model::Cores;
use super::value::show_cores;

/// The executors' cores, one each, in order. `usable`: the cores that this process may use, ascending.
///
/// The error names what was asked for, what there is, and what to write.
pub fn choose(cores: &Cores, usable: &[usize]) -> Result<Vec<usize>, String> {
    let there = || match usable.len() {
        1 => format!("this process may use 1 core ({})", show_cores(usable)),
        count => format!("this process may use {count} cores ({})", show_cores(usable)),
    };
    match cores {
        _ if usable.is_empty() => {
            Err("executors.cores: this process may use no core at all; check its CPU affinity".to_owned())
        }
        Cores::All => Ok(usable.to_vec()),
        Cores::AtMost(count) => Ok(usable.iter().copied().take(*count).collect()),
        Cores::Count(count) if *count > usable.len() => Err(format!(
            "executors.cores: {count} cores are asked for, and {}; write at most {}, or `all`",
            there(),
            usable.len()
        )),
        Cores::Count(count) => Ok(usable.iter().copied().take(*count).collect()),
        Cores::List(list) => match list.iter().find(|core| !usable.contains(core)) {
            Some(missing) => Err(format!(
                "executors.cores: core {missing} is asked for, and {}; write cores from those, or `all`",
                there()
            )),
            None => Ok(list.clone()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_taken_from_the_usable_ones() {
        let usable = [2, 3, 4, 8];
        assert_eq!(choose(&Cores::All, &usable).unwrap(), usable);
        assert_eq!(choose(&Cores::Count(2), &usable).unwrap(), [2, 3]);
        assert_eq!(choose(&Cores::AtMost(100), &usable).unwrap(), usable);
        assert_eq!(choose(&Cores::AtMost(1), &usable).unwrap(), [2]);
        assert_eq!(choose(&Cores::List(vec![8, 3]), &usable).unwrap(), [8, 3]);
    }

    #[test]
    fn a_core_that_does_not_exist_is_named_with_those_that_do() {
        assert_eq!(
            choose(&Cores::List(vec![3, 5]), &[2, 3, 4]).unwrap_err(),
            "executors.cores: core 5 is asked for, and this process may use 3 cores (2-4); write cores from those, or `all`"
        );
        assert_eq!(
            choose(&Cores::Count(9), &[0]).unwrap_err(),
            "executors.cores: 9 cores are asked for, and this process may use 1 core (0); write at most 1, or `all`"
        );
        assert!(choose(&Cores::All, &[]).unwrap_err().contains("CPU affinity"));
    }
}
