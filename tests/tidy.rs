//! Style that a machine can check: sizes, module docs, whitespace, leftovers, paths of machines, purposes of dependencies.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that fails may panic")]

#[allow(dead_code, reason = "shared with module_rule, which needs more of it")]
mod source_rules;

use source_rules::{code_only, files, root, without_tests};

const MAX_FILE_LINES: usize = 600;
const MAX_FUNCTION_LINES: usize = 70;

/// Files and functions (`file` or `file#function`) that may be longer, and why.
const LONG: [(&str, &str); 0] = [];

/// Assembled here, so that this file does not hold them itself.
fn leftovers() -> [String; 3] {
    [["TO", "DO"], ["FIX", "ME"], ["XX", "X"]].map(|parts| parts.concat())
}

fn places() -> Vec<String> {
    [
        ["/wo", "rk/"],
        ["/ro", "ot/"],
        ["/ho", "me/"],
        ["crates", ".io"],
        ["static.crates", ".io"],
        ["index.crates", ".io"],
    ]
    .map(|parts| parts.concat())
    .to_vec()
}

fn rust_files() -> Vec<String> {
    ["src", "bench", "tests"].iter().flat_map(|folder| files(folder, "rs")).collect()
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_default()
}

fn is_excepted(name: &str) -> bool {
    LONG.iter().any(|(long, _)| *long == name)
}

/// Name and length of each function, by its braces; test code is left out.
fn functions(text: &str) -> Vec<(String, usize)> {
    let code = without_tests(&code_only(text));
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some((before, after)) = line.split_once("fn ") else { continue };
        let is_item = before.split_whitespace().all(|word| {
            word.starts_with("pub") || ["const", "async", "unsafe", "in"].contains(&word) || word.ends_with(')')
        });
        let name: String = after.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
        if !is_item || name.is_empty() {
            continue;
        }
        let (mut depth, mut opened) = (0i32, false);
        for (offset, line) in lines[start..].iter().enumerate() {
            depth += line.matches('{').count() as i32 - line.matches('}').count() as i32;
            opened |= line.contains('{');
            if (opened && depth <= 0) || (!opened && line.trim_end().ends_with(';')) {
                found.push((name, offset + 1));
                break;
            }
        }
    }
    found
}

/// What is wrong with the lines of a text file.
fn line_faults(file: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut fault = |what: &str| faults.push(format!("{file}:{}: {what}", number + 1));
        if line.ends_with([' ', '\t', '\r']) {
            fault("trailing whitespace");
        }
        if line.contains('\t') {
            fault("tab");
        }
        for word in leftovers() {
            let alone = line.split(|letter: char| !letter.is_alphanumeric()).any(|found| found == word);
            if alone {
                fault("a note to do later");
            }
        }
        for place in places() {
            if line.contains(&place) {
                fault("a path of one machine, or a registry's host");
            }
        }
    }
    faults
}

/// Dependency lines without a comment above them; lines that follow one another may share it.
fn unexplained(manifest: &str) -> Vec<String> {
    let (mut inside, mut explained, mut faults) = (false, false, Vec::new());
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]") && !line.starts_with("[workspace");
            explained = false;
        } else if line.starts_with('#') {
            explained = true;
        } else if line.trim().is_empty() {
            explained = false;
        } else if inside && !explained {
            faults.push(line.to_owned());
        }
    }
    faults
}

#[test]
fn files_and_functions_stay_short() {
    let mut faults = Vec::new();
    for file in rust_files() {
        let text = read(&file);
        let lines = text.lines().count();
        if lines > MAX_FILE_LINES && !is_excepted(&file) {
            faults.push(format!("{file}: {lines} lines, more than {MAX_FILE_LINES}"));
        }
        for (name, lines) in functions(&text) {
            if lines > MAX_FUNCTION_LINES && !is_excepted(&format!("{file}#{name}")) {
                faults.push(format!("{file}: fn {name} has {lines} lines, more than {MAX_FUNCTION_LINES}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn each_file_says_what_it_is_for() {
    let silent: Vec<String> =
        rust_files().into_iter().filter(|file| !file.ends_with("tests.rs") && !read(file).starts_with("//!")).collect();
    assert!(silent.is_empty(), "no //! at the top: {silent:?}");
}

#[test]
fn lines_hold_no_leftovers_and_no_places() {
    let manifests = ["Cargo.toml", "bench/Cargo.toml", "bench/load/Cargo.toml"].map(str::to_owned);
    let all = rust_files().into_iter().chain(manifests);
    let faults: Vec<String> = all.flat_map(|file| line_faults(&file, &read(&file))).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn each_dependency_says_why_it_is_there() {
    for manifest in ["Cargo.toml", "bench/Cargo.toml", "bench/load/Cargo.toml"] {
        assert_eq!(
            unexplained(&read(manifest)),
            Vec::<String>::new(),
            "{manifest}: no comment says what these are for"
        );
    }
}

#[test]
fn planted_faults_are_found() {
    let long = format!("fn short() {{}}\npub(crate) fn long(\n) {{\n{}}}\n", "    a();\n".repeat(80));
    assert_eq!(functions(&long), [("short".to_owned(), 1), ("long".to_owned(), 83)]);
    let [first, ..] = leftovers();
    let planted = format!("fine\nbad \n\tbad\n// {first}: bad\n// see {}x\n", places()[0]);
    let lines: Vec<String> = line_faults("f", &planted).iter().map(|fault| fault[..3].to_owned()).collect();
    assert_eq!(lines, ["f:2", "f:3", "f:4", "f:5"]);
    assert_eq!(unexplained("[dependencies]\n# Why.\na = \"1\"\n\nb = \"1\"\n[lib]\nname = \"x\"\n"), ["b = \"1\""]);
}
