//! `ringpost tap`: records of a connector that runs, as they go through, from its manage port.

use std::io::{Stdout, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::manage::{Asking, runtime, unanswered};
use super::{EXIT_FAILED, EXIT_USAGE, TapArgs};
use crate::io::manage_client::{Answer, Client};

/// What messages call it.
const ASKING: Asking = Asking { command: "tap", shows: "records", missing: "no taps" };

/// Bytes of one line; a record has some tens of KiB at most for each destination.
const LINE_BYTES: usize = 8 << 20;

/// Bytes of an answer that says why there are no records.
const REFUSAL_BYTES: usize = 64 << 10;

/// How often it is looked for Ctrl-C.
const LOOK: Duration = Duration::from_millis(100);

/// Columns before what a line of a block says.
const NAME_COLUMNS: usize = 10;

/// Prints records until there are enough, or it is told to stop.
pub fn tap(args: &TapArgs) -> ExitCode {
    let client = match args.manage.client() {
        Ok(client) => client,
        Err(why) => {
            eprintln!("ringpost: {why}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let done = runtime().map_err(|why| (EXIT_FAILED, why)).and_then(|runtime| {
        let done = runtime.block_on(watch(&client, args));
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, why)) => {
            eprintln!("ringpost: {}", clean(&why));
            ExitCode::from(code)
        }
    }
}

type Failure = (u8, String);

async fn watch(client: &Client, args: &TapArgs) -> Result<(), Failure> {
    let failed = |error| (EXIT_FAILED, unanswered(&error));
    let stopped = Arc::<AtomicBool>::default();
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stopped))
            .map_err(|error| (EXIT_FAILED, format!("signals cannot be watched: {error}")))?;
    }
    let answer = client.get(&path(args)).await.map_err(failed)?;
    let mut answer = if answer.status == 200 { answer } else { return Err(refused(client, answer).await) };
    let mut line = Vec::new();
    let mut out = std::io::stdout();
    loop {
        let piece = match tokio::time::timeout(LOOK, answer.piece()).await {
            Ok(piece) => piece.map_err(failed)?,
            Err(_) if stopped.load(Ordering::Relaxed) => return Ok(()),
            Err(_) => continue,
        };
        let Some(piece) = piece else {
            return Err((
                EXIT_FAILED,
                format!("{} ended the tap without a last line: the connector has ended", client.url()),
            ));
        };
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            if line.len() + part.len() > LINE_BYTES {
                return Err((EXIT_FAILED, format!("{} sent a line of more than {LINE_BYTES} bytes", client.url())));
            }
            line.extend_from_slice(part);
            if line.ends_with(b"\n") {
                match show(&mut out, &line, args.json) {
                    Ok(true) => {}
                    Ok(false) => return Ok(()),
                    Err(why) => return Err((EXIT_FAILED, why)),
                }
                line.clear();
            }
        }
        if stopped.load(Ordering::Relaxed) {
            return Ok(());
        }
    }
}

/// The path, with what is asked for.
fn path(args: &TapArgs) -> String {
    let mut query = vec![format!("limit={}", args.limit), format!("seconds={}", args.seconds)];
    for (name, value) in [("namespace", &args.namespace), ("set", &args.set), ("destination", &args.destination)] {
        query.extend(value.as_ref().map(|value| format!("{name}={}", encoded(value))));
    }
    query.extend(args.failed.then(|| "failed=1".to_owned()));
    query.extend(args.sample.map(|share| format!("sample={share}")));
    format!("/tap?{}", query.join("&"))
}

fn encoded(text: &str) -> String {
    let escaped = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escaped).collect()
}

async fn refused(client: &Client, answer: Answer) -> Failure {
    let (url, status) = (client.url().to_owned(), answer.status);
    let body = answer.whole(REFUSAL_BYTES).await.unwrap_or_default();
    let why = String::from_utf8_lossy(&body).trim().to_owned();
    match status {
        400 => (EXIT_USAGE, format!("{url}: --{why}")),
        503 => (EXIT_FAILED, format!("{url}: {why} (status 503)")),
        _ => (EXIT_FAILED, ASKING.refusal(&url, status)),
    }
}

/// Prints one line; false when it was the last.
fn show(out: &mut Stdout, line: &[u8], as_json: bool) -> Result<bool, String> {
    let event: Value = serde_json::from_slice(line).map_err(|error| format!("a line that is no JSON came: {error}"))?;
    let is_last = event.get("end").is_some();
    let text = if as_json { String::from_utf8_lossy(line).into_owned() } else { block(&event) };
    // Nobody is left to tell if standard output is closed.
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    Ok(!is_last && written.is_ok())
}

/// Control characters, and what turns the direction of text, as escapes.
fn clean(text: &str) -> String {
    let is_harmless = |letter: char| {
        !letter.is_control()
            && !matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut out = String::new();
    for letter in text.chars() {
        if is_harmless(letter) { out.push(letter) } else { out.extend(letter.escape_unicode()) }
    }
    out
}

/// A value as text: strings without quotes.
fn plain(value: &Value) -> String {
    clean(&value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// An event for eyes.
fn block(event: &Value) -> String {
    if let Some(end) = event.get("end") {
        return format!("end: {}, {} shown, {} missed\n", plain(end), plain(&event["shown"]), plain(&event["missed"]));
    }
    let field = |name: &str| event.get(name).map(plain).unwrap_or_default();
    let mut text = format!(
        "{} {} {}/{}/{} code {} {}\n",
        field("at"),
        field("operation"),
        field("namespace"),
        field("set"),
        field("digest"),
        field("code"),
        field("outcome")
    );
    let mut put = |name: &str, value: String| text.push_str(&format!("  {name:<NAME_COLUMNS$}{value}\n"));
    put("from", format!("{} port {} executor {}", field("peer"), field("port"), field("executor")));
    for name in ["record", "record_cut", "record_left_out", "fault", "note"] {
        if event.get(name).is_some() {
            put(name.split('_').next().unwrap_or(name), field(name));
        }
    }
    for call in event["destinations"].as_array().into_iter().flatten() {
        let of = |name: &str| call.get(name).map(plain);
        put(
            "to",
            format!(
                "{} {} {}",
                of("name").unwrap_or_default(),
                of("method").unwrap_or_default(),
                of("url").unwrap_or_default()
            ),
        );
        for (name, value) in call["request_headers"].as_object().into_iter().flatten() {
            put("", format!("{}: {}", clean(name), plain(value)));
        }
        if let Some(body) = of("body").or_else(|| of("body_base64")) {
            let cut = if call.get("body_cut").is_some() { " (cut)" } else { "" };
            put("body", format!("{} bytes{cut}: {body}", of("body_bytes").unwrap_or_default()));
        }
        let known = ["status", "error", "batch", "batch_place", "attempts", "queue_us", "response_us"];
        let said = known.iter().filter_map(|name| Some(format!(", {name} {}", of(name)?)));
        put("answer", format!("{}{}", of("outcome").unwrap_or_default(), said.collect::<String>()));
    }
    let times = event["timings_us"].as_object().into_iter().flatten();
    put(
        "times",
        times.map(|(name, time)| format!("{} {} us", clean(name), plain(time))).collect::<Vec<_>>().join(", "),
    );
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_cannot_drive_the_terminal() {
        assert_eq!(clean("a\u{1b}[2J\u{9b}\n\u{202e}ä"), "a\\u{1b}[2J\\u{9b}\\u{a}\\u{202e}ä");
        let event = serde_json::json!({ "set": "\u{1b}]0;x\u{7}", "destinations": [{ "name": "\u{1b}c", "body": "\r\u{1b}" }] });
        assert!(!block(&event).chars().any(|letter| letter.is_control() && letter != '\n'));
    }

    #[test]
    fn names_are_encoded() {
        assert_eq!(encoded("a b&c=ä"), "a%20b%26c%3D%C3%A4");
    }
}
