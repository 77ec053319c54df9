//! What the query of `/tap` asks for.

use std::time::Duration;

use crate::delivery::tap::{Filter, Share};

/// Records that are shown unless `limit` says otherwise, and at most.
const LIMIT: u64 = 100;
const MOST: u64 = 100_000;

/// How long records are shown unless `seconds` says otherwise, and at most.
const SECONDS: u64 = 60;
const LONGEST: u64 = 3600;

/// Bytes of a namespace or set that is asked for.
const NAME_BYTES: usize = 256;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Which records.
    pub filter: Filter,
    /// How many of them.
    pub limit: u64,
    /// For how long.
    pub time: Duration,
}

/// Reads a query such as `namespace=test&failed=1`; `destinations`: their names.
///
/// # Errors
/// What is wrong with which parameter.
pub fn asked(query: &str, destinations: &[&str]) -> Result<Asked, String> {
    let mut asked = Asked { filter: Filter::ALL, limit: LIMIT, time: Duration::from_secs(SECONDS) };
    let mut seen = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if seen.contains(&name) {
            return Err(format!("{name}: it is given twice"));
        }
        seen.push(name);
        let value = decoded(value).ok_or_else(|| format!("{name}: a % is followed by no two hexadecimal digits"))?;
        put(&mut asked, name, value, destinations).map_err(|why| format!("{}: {why}", name.escape_default()))?;
    }
    Ok(asked)
}

fn put(asked: &mut Asked, name: &str, value: Vec<u8>, destinations: &[&str]) -> Result<(), String> {
    let text = String::from_utf8_lossy(&value).into_owned();
    let number = |most: u64| match text.parse::<u64>() {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => Err(format!("it is a number from 1 to {most}")),
    };
    match name {
        "namespace" | "set" if value.len() > NAME_BYTES => return Err(format!("it has more than {NAME_BYTES} bytes")),
        "namespace" if value.is_empty() => return Err("it is a name; leave it out for all namespaces".to_owned()),
        "namespace" => asked.filter.namespace = Some(value),
        "set" => asked.filter.set = Some(value),
        "destination" => {
            let place = destinations.iter().position(|known| *known == text);
            let known = || format!("there is no destination of this name; there are: {}", destinations.join(", "));
            asked.filter.destination = Some(place.ok_or_else(known)?);
        }
        "failed" => {
            asked.filter.failed = match text.as_str() {
                "" | "1" | "true" => true,
                "0" | "false" => false,
                _ => return Err("it is 1 or 0".to_owned()),
            }
        }
        "sample" => {
            let share = text.parse().ok().and_then(Share::of);
            asked.filter.share = share.ok_or("it is a share above 0, and 1 at most: 0.01 is one of a hundred")?;
        }
        "limit" => asked.limit = number(MOST)?,
        "seconds" => asked.time = Duration::from_secs(number(LONGEST)?),
        _ => {
            return Err(
                "no such parameter; there are namespace, set, destination, failed, sample, limit, seconds".to_owned()
            );
        }
    }
    Ok(())
}

/// Without its percent-encoding.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16));
        let value = digit()? * 16 + digit()?;
        out.push(u8::try_from(value).ok()?);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_read_and_the_rest_has_a_default() {
        let none = asked("", &[]).unwrap();
        assert_eq!((none.limit, none.time, none.filter.share), (100, Duration::from_secs(60), Share::ALL));
        assert_eq!((none.filter.namespace, none.filter.set, none.filter.failed), (None, None, false));
        let all = asked("namespace=a%20b&set=&destination=two&failed=1&sample=0.25&limit=7&seconds=9", &["one", "two"]);
        let filter = Filter {
            namespace: Some(b"a b".to_vec()),
            set: Some(Vec::new()),
            destination: Some(1),
            failed: true,
            share: Share::of(0.25).unwrap(),
        };
        assert_eq!(all, Ok(Asked { filter, limit: 7, time: Duration::from_secs(9) }));
        assert_eq!(asked("set=%ff", &[]).unwrap().filter.set, Some(vec![0xff]));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_parameter() {
        for (query, parameter) in [
            ("limit=0", "limit: "),
            ("limit=100001", "limit: "),
            ("limit=", "limit: "),
            ("seconds=3601", "seconds: "),
            ("sample=0", "sample: "),
            ("sample=1.5", "sample: "),
            ("sample=nan", "sample: "),
            ("namespace=", "namespace: "),
            ("namespace=%4", "namespace: "),
            ("namespace=%+1", "namespace: "),
            ("set=a&set=b", "set: "),
            ("failed=perhaps", "failed: "),
            ("destination=three", "destination: "),
            ("nonsense", "nonsense: "),
        ] {
            let why = asked(query, &["one", "two"]).unwrap_err();
            assert!(why.starts_with(parameter), "{query}: {why}");
        }
        assert!(asked(&format!("set={}", "a".repeat(257)), &[]).is_err());
        assert!(asked("destination=x", &["one", "two"]).unwrap_err().contains("one, two"));
    }
}
