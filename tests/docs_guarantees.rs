//! docs/guarantees.md: every promise names the tests that hold it, and they exist.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may fail loudly")]

use std::path::Path;

/// The promises of the page: first line, and the tests that are named after it.
fn promises(page: &str) -> Vec<(String, Vec<String>)> {
    let promised = page.split("\n## What is not promised").next().unwrap();
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for line in promised.lines() {
        if let Some(text) = line.strip_prefix("- ") {
            found.push((text.to_owned(), Vec::new()));
        } else if let Some(name) = line.trim().strip_prefix('`').and_then(|rest| rest.strip_suffix('`'))
            && name.contains(".rs::")
        {
            found.last_mut().expect("a promise before its tests").1.push(name.to_owned());
        }
    }
    found
}

/// Whether `code` has a test function of this name.
fn has_test(code: &str, name: &str) -> bool {
    let head = format!("fn {name}(");
    code.match_indices(&head).any(|(at, _)| {
        let before = code.get(..at).unwrap_or_default();
        // Attributes stand between the last item's end and the function.
        let attributes = before.rsplit(['}', ';']).next().unwrap_or_default();
        attributes.contains("#[test]")
    })
}

#[test]
fn every_promise_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/guarantees.md")).unwrap();
    let promises = promises(&page);
    assert!(promises.len() >= 20, "{} promises found: did the layout of the page change?", promises.len());
    for (promise, tests) in promises {
        assert!(!tests.is_empty(), "no test is named for: {promise}");
        for test in tests {
            let (file, name) = test.split_once("::").unwrap();
            let code = std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{test}: {error}"));
            assert!(has_test(&code, name), "{file} has no test {name}, which should hold: {promise}");
        }
    }
}
