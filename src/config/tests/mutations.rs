//! Files that are nearly right: never a panic, and every fault and warning is located and gives advice.

use super::levels::{AVRO, HEADERS, LEVELS};
use super::*;

/// xorshift: the same mutations on each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap()
    }
}

fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    const PIECES: [&str; 28] = [
        ":",
        ": ",
        "- ",
        "\n",
        "\t",
        " ",
        "{",
        "}",
        "[",
        "]",
        "&a ",
        "*a",
        "<<: *a",
        "!!str ",
        "'",
        "\"",
        "|\n",
        "#",
        "---\n",
        "~",
        "-1",
        "99999999999",
        "1.5",
        "\u{feff}",
        "\0",
        "\r",
        "ü",
        "%",
    ];
    let place = random.below(bytes.len() + 1);
    match random.below(7) {
        0 if place < bytes.len() => bytes[place] = u8::try_from(random.below(256)).unwrap(),
        1 => {
            let end = (place + random.below(20)).min(bytes.len());
            bytes.drain(place..end);
        }
        2 => {
            let piece = PIECES[random.below(PIECES.len())];
            bytes.splice(place..place, piece.bytes());
        }
        // Lines: double one, move one, indent one.
        choice => {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let mut lines: Vec<&str> = text.lines().collect();
            if lines.is_empty() {
                return;
            }
            let line = random.below(lines.len());
            let indented = format!(" {}", lines[line]);
            let target = random.below(lines.len());
            match choice {
                3 => lines.insert(target, lines[line]),
                4 => lines.swap(line, target),
                5 => lines[line] = &indented,
                _ => lines[line] = lines[line].trim_start(),
            }
            *bytes = lines.join("\n").into_bytes();
        }
    }
}

#[test]
fn mutated_files_never_panic_and_every_fault_is_located() {
    let rounds = std::env::var("RINGPOST_MUTATIONS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(10_000);
    let mut random = Random(0x5EED);
    let mut refused = 0;
    for round in 0..rounds {
        let seeds = [MINIMAL, TWO, ALL, OFFICIAL, ACCEPTED, LEVELS, HEADERS, AVRO];
        let mut bytes = seeds[round % seeds.len()].as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            mutate(&mut random, &mut bytes);
        }
        let loaded = parse_bytes_with("a.yml", &bytes, UnknownKeys::Error, OUTSIDE);
        assert_eq!(loaded.config.is_none(), !loaded.faults.is_empty());
        refused += usize::from(loaded.config.is_none());
        let text = String::from_utf8_lossy(&bytes);
        let ends = text.lines().count() + 1 + text.matches('\r').count();
        for fault in loaded.faults.iter().chain(&loaded.warnings) {
            let (line, column) = fault.at.unwrap_or_else(|| panic!("{fault} of {text}"));
            assert!((1..=ends).contains(&line) && (1..=text.len() + 2).contains(&column), "{fault} of {text}");
            assert!(fault.message.contains("; "), "no advice: {fault} of {text}");
        }
        if let Some(first) = loaded.config.clone() {
            let shown = effective::print(&loaded, &Ok(vec![0]));
            let again = parse_with("a.yml", &shown, UnknownKeys::Error, OUTSIDE);
            let second = again.config.unwrap_or_else(|| panic!("{:?} of {shown}", again.faults));
            assert_eq!(printed(first), printed(second), "{shown}");
        }
    }
    assert!(refused > rounds / 4 && refused < rounds, "{refused} of {rounds} were refused");
}
