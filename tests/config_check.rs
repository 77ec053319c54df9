//! `ringpost check` through the real binary: examples pass, invalid examples give exactly the expected lines.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly, helpers outside test functions included"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn ringpost(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringpost"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the binary is built by cargo")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("messages are UTF-8")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("messages are UTF-8")
}

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).expect("the folder exists");
    let mut files: Vec<PathBuf> = all.map(|entry| entry.expect("readable").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == ending));
    files.sort();
    files.iter().map(|path| Path::new(folder).join(path.file_name().expect("a file"))).collect()
}

/// The files that examples/tls.yml names.
fn make_certificates() {
    static MADE: std::sync::Once = std::sync::Once::new();
    MADE.call_once(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/make-certificates");
        assert!(Command::new(script).status().expect("bash and openssl are there").success());
    });
}

#[test]
fn every_example_is_accepted_without_a_word_and_its_effective_settings_load_again() {
    make_certificates();
    let examples = files("examples", "yml");
    assert!(examples.len() >= 3, "{examples:?}");
    for example in examples {
        let name = example.to_str().unwrap();
        let first = ringpost(&["check", "-f", name]);
        assert_eq!(first.status.code(), Some(0), "{name}: {}", stderr(&first));
        assert_eq!(stderr(&first), "", "{name}");
        let effective = std::env::temp_dir().join(format!("ringpost-effective-{}.yml", std::process::id()));
        std::fs::write(&effective, &first.stdout).unwrap();
        let second = ringpost(&["check", "-f", effective.to_str().unwrap()]);
        std::fs::remove_file(&effective).unwrap();
        assert_eq!(second.status.code(), Some(0), "{name}: {}", stderr(&second));
        let settings = |output: &Output| {
            let lines = stdout(output);
            lines.lines().map(|line| line.split(" # ").next().unwrap().trim_end().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(settings(&first), settings(&second), "{name}");
    }
}

/// `examples/invalid/NAME.yml` with the expected standard error in `NAME.expected`. To accept new output after reading
/// it: `RINGPOST_ACCEPT=1 cargo test --test config_check`.
#[test]
fn every_invalid_example_gives_exactly_the_expected_lines() {
    for folder in ["examples/invalid", "tests/data/config/official", "tests/data/config/warnings"] {
        let examples = files(folder, "yml");
        assert!(!examples.is_empty(), "{folder}");
        for example in examples {
            let name = example.to_str().unwrap();
            let output = ringpost(&["check", "-f", name]);
            let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join(&example).with_extension("expected");
            if std::env::var_os("RINGPOST_ACCEPT").is_some() {
                std::fs::write(&expected, &output.stderr).unwrap();
            }
            let expected = std::fs::read_to_string(&expected).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(stderr(&output), expected, "{name}");
            let only_warnings = expected.lines().all(|line| line.starts_with("warning: "));
            assert_eq!(output.status.code(), Some(if only_warnings { 0 } else { 2 }), "{name}");
            assert_eq!(output.stdout.is_empty(), !only_warnings, "{name}");
            assert!(!expected.contains("secret"), "{name}: a secret of the file is repeated");
        }
    }
}

#[test]
fn every_line_is_located_and_says_what_to_write() {
    for expected in files("examples/invalid", "expected") {
        for line in std::fs::read_to_string(&expected).unwrap().lines() {
            let line = line.strip_prefix("warning: ").unwrap_or(line);
            let mut parts = line.splitn(4, ':');
            let file = parts.next().unwrap();
            assert!(Path::new(file).with_extension("expected") == expected, "{line}");
            let position: Vec<usize> = parts.by_ref().take(2).map(|part| part.parse().unwrap()).collect();
            assert!(position.iter().all(|number| *number > 0) && position.len() == 2, "{line}");
            assert!(parts.next().unwrap().contains("; "), "no advice: {line}");
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_is_one_clear_line() {
    let directory = std::env::temp_dir().join(format!("ringpost-unreadable-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let large = directory.join("large.yml");
    std::fs::write(&large, vec![b'#'; (1 << 20) + 1]).unwrap();
    let table = [
        (
            "/nonexistent/a.yml",
            "/nonexistent/a.yml: cannot read the file: No such file or directory (os error 2); check the path after -f\n",
        ),
        ("examples", "examples: is a directory; write the path of a file after -f\n"),
        (large.to_str().unwrap(), "is larger than 1MiB; is this the configuration file?\n"),
        ("/dev/zero", "/dev/zero: is larger than 1MiB; is this the configuration file?\n"),
    ];
    for (file, end) in table {
        for arguments in [vec!["check", "-f", file], vec!["run", "-f", file], vec!["-f", file]] {
            let output = ringpost(&arguments);
            assert_eq!(output.status.code(), Some(2), "{arguments:?}");
            let text = stderr(&output);
            assert!(text.ends_with(end) && text.lines().count() == 1, "{arguments:?}: {text}");
        }
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn the_command_line_has_the_documented_exit_codes() {
    let all = "examples/all-settings.yml";
    let table: [(&[&str], i32); 16] = [
        (&["schema"], 0),
        (&["schema", "-f", all], 2),
        (&["check", "-f", all, "--port", "8902", "--namespace", "users", "--set", "scratch"], 0),
        (&["check", "-f", all, "--set", "scratch"], 2),
        (&["check", "-f", all, "--port", "9901"], 2),
        (&["check", "-f", all, "--port", "70000"], 2),
        (&["check", "-f", "examples/invalid/levels.yml", "--port", "8902"], 2),
        (&["--version"], 0),
        (&["--help"], 0),
        (&["check", "--help"], 0),
        (&[], 2),
        (&["check"], 2),
        (&["run", "-f"], 2),
        (&["serve"], 2),
        (&["run", "-f", "examples/minimal.yml", "--unknown-keys=maybe"], 2),
        (&["demo", "--seconds", "0"], 2),
    ];
    for (arguments, code) in table {
        let output = ringpost(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
    }
    assert_eq!(stdout(&ringpost(&["--version"])), format!("ringpost {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_start_refused_for_an_unknown_key_names_the_flag_that_lets_it_pass() {
    let file = "examples/invalid/unknown-keys.yml";
    let refused = ringpost(&["-f", file]);
    assert_eq!(refused.status.code(), Some(2));
    let text = stderr(&refused);
    let last = text.lines().last().unwrap();
    assert_eq!(
        last,
        format!("ringpost: to start in spite of unknown keys: ringpost run --unknown-keys=warn -f {file}")
    );

    // Other faults still refuse the start, and the unknown key is a warning next to them.
    let file = "tests/data/config/unknown-and-wrong.yml";
    let refused = ringpost(&["run", "--unknown-keys=warn", "-f", file]);
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(
        stderr(&refused),
        format!(
            "warning: {file}:3:3: service.prot: unknown key; write `port`\n\
             {file}:2:9: service.port: 0 is any free port, which XDR would have to guess; write 1 to 65535\n"
        )
    );
}

#[test]
fn only_what_holds_for_some_records_is_printed_when_they_are_named() {
    let file = "examples/all-settings.yml";
    let check = |arguments: &[&str]| {
        let output = ringpost(&[&["check", "-f", file], arguments].concat());
        (stdout(&output), stderr(&output))
    };
    let (page, said) = check(&["--port", "8902", "--namespace", "users", "--set", "scratch"]);
    assert_eq!(said, "");
    let line = |key: &str| {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        let mut block = text.lines().skip_while(|line| !line.starts_with("port-based-config:"));
        let skipped = text.lines().count() - block.clone().count();
        skipped + 1 + block.position(|line| line.trim_start().starts_with(key)).unwrap()
    };
    let origin = "# port-based-config.8902.namespaces.users.sets.scratch.routing, line ";
    assert!(page.contains(&format!("{origin}{}\nrouting:\n  mode: skip", line("routing: { mode: skip }"))), "{page}");
    assert!(page.contains("# namespaces.users.format, line "), "{page}");
    assert!(page.ends_with("destinations: {}\n"), "{page}");

    let (page, _) = check(&["--namespace", "users"]);
    assert!(page.contains("# batching, line ") && page.contains("    # content-type: application/json\n"), "{page}");
    assert!(page.contains("x-source: \"***\"") && !page.contains("x-source: ringpost"), "{page}");

    let (page, said) = check(&["--port", "9901"]);
    assert_eq!(page, "");
    let expected =
        "ringpost: --port 9901: nothing listens there; write one of 8901, 8902, or add it to `service.port` in ";
    assert_eq!(said, format!("{expected}{file}\n"));
}

#[test]
fn secrets_come_from_files_and_variables_and_are_never_printed() {
    let directory = std::env::temp_dir().join(format!("ringpost-secrets-{}", std::process::id()));
    std::fs::create_dir_all(directory.join("secrets")).unwrap();
    std::fs::write(directory.join("secrets/key"), "hunter2\nignored\n").unwrap();
    let file = directory.join("a.yml");
    let text = "destinations:\n  a:\n    urls: http://127.0.0.1:9000/\n    headers:\n      \
                authorization: { source: env, name: RINGPOST_TEST_TOKEN }\n      \
                x-api-key: { source: file, path: secrets/key }\n      x-fixed: hunter2\n\
                routing: { mode: static-multi-destination, destinations: a }\n";
    std::fs::write(&file, text).unwrap();
    let check = |file: &Path, token: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringpost"));
        command.args(["check", "-f"]).arg(file).env("RINGPOST_TEST_TOKEN", token).output().unwrap()
    };
    let first = check(&file, "Bearer hunter2");
    assert_eq!((first.status.code(), stderr(&first).as_str()), (Some(0), ""));
    let page = stdout(&first);
    assert!(!page.contains("hunter2"), "{page}");
    assert!(page.contains("authorization: { source: env, name: RINGPOST_TEST_TOKEN }"), "{page}");
    let path = directory.join("secrets/key");
    assert!(page.contains(&format!("x-api-key: {{ source: file, path: {} }}", path.display())), "{page}");
    // Printed paths are absolute, so that the printed file can stand elsewhere.
    std::fs::create_dir_all(directory.join("elsewhere")).unwrap();
    let printed = directory.join("elsewhere/b.yml");
    std::fs::write(&printed, &page).unwrap();
    let second = check(&printed, "Bearer hunter2");
    assert_eq!((second.status.code(), stderr(&second).as_str()), (Some(0), ""));
    // A value that cannot be a header is located, and not shown.
    let broken = check(&file, "hunter2\n");
    assert_eq!(broken.status.code(), Some(2));
    let said = stderr(&broken);
    assert!(
        said.starts_with(&format!("{}:5:43: destinations.a.headers.authorization.name: ", file.display())),
        "{said}"
    );
    assert!(said.contains("has a line break") && !said.contains("hunter2"), "{said}");
    std::fs::remove_dir_all(&directory).unwrap();
}
