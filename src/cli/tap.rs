//! `ringpost tap`: records of a connector that runs, as they go through, from its manage port.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::Value;
use signal_hook::consts::{SIGINT, SIGTERM};
use tokio::sync::oneshot;

use super::manage::{Asking, runtime, unanswered};
use super::{EXIT_FAILED, EXIT_USAGE, TapArgs};
use crate::io::manage_client::{Answer, Client};
use crate::metrics::stages::Stage;

/// What messages call it.
const ASKING: Asking = Asking { command: "tap", shows: "records", missing: "no taps" };

/// Bytes of one line; a record has some tens of KiB at most for each destination.
const LINE_BYTES: usize = 8 << 20;

/// Bytes of an answer that says why there are no records.
const REFUSAL_BYTES: usize = 64 << 10;

/// Bytes that wait for whoever reads standard output; more records than that are left out.
const WAITING_BYTES: usize = 16 << 20;

/// How often it is looked for Ctrl-C.
const LOOK: Duration = Duration::from_millis(100);

/// After Ctrl-C what has come is printed for so long, at most.
const LAST_WORDS: Duration = Duration::from_millis(500);

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
    let stopped = Arc::<AtomicBool>::default();
    for signal in [SIGINT, SIGTERM] {
        // A second one ends it at once, whatever it waits for.
        signal_hook::flag::register_conditional_shutdown(signal, EXIT_FAILED.into(), Arc::clone(&stopped))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stopped)))
            .map_err(|error| (EXIT_FAILED, format!("signals cannot be watched: {error}")))?;
    }
    let mut printer = Printer::start().map_err(|error| (EXIT_FAILED, format!("cannot print: {error}")))?;
    let done = follow(client, args, &stopped, &mut printer).await;
    printer.finish(&stopped).await;
    done
}

/// Prints what comes, until the last line or a signal.
async fn follow(client: &Client, args: &TapArgs, stopped: &AtomicBool, printer: &mut Printer) -> Result<(), Failure> {
    let failed = |error| (EXIT_FAILED, unanswered(&error));
    let Some(answer) = unless(stopped, client.get(&path(args))).await else { return Ok(()) };
    let answer = answer.map_err(failed)?;
    let mut answer = if answer.status == 200 { answer } else { return Err(refused(client, answer).await) };
    let mut line = Vec::new();
    while let Some(piece) = unless(stopped, answer.piece()).await {
        let Some(piece) = piece.map_err(failed)? else {
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
                if !printer.show(&line, args.json) {
                    return Ok(());
                }
                line.clear();
            }
        }
    }
    Ok(())
}

/// What comes, unless a signal does before it.
async fn unless<T>(stopped: &AtomicBool, coming: impl Future<Output = T>) -> Option<T> {
    let mut coming = std::pin::pin!(coming);
    while !stopped.load(Ordering::Relaxed) {
        if let Ok(done) = tokio::time::timeout(LOOK, coming.as_mut()).await {
            return Some(done);
        }
    }
    None
}

/// Standard output, on a thread of its own: one who does not read it keeps neither Ctrl-C nor the connector waiting.
struct Printer {
    texts: Sender<String>,
    /// Bytes of texts that are not written yet.
    waiting: Arc<AtomicUsize>,
    /// Closed when the thread has ended.
    over: oneshot::Receiver<()>,
    left_out: u64,
}

impl Printer {
    fn start() -> std::io::Result<Printer> {
        let (texts, receive) = channel();
        let (ends, over) = oneshot::channel();
        let waiting = Arc::<AtomicUsize>::default();
        let left = Arc::clone(&waiting);
        std::thread::Builder::new().name("ringpost-print".to_owned()).spawn(move || {
            print(&receive, &left);
            drop(ends);
        })?;
        Ok(Printer { texts, waiting, over, left_out: 0 })
    }

    /// Prints one line of the answer; false when it was the last, or nobody reads.
    fn show(&mut self, line: &[u8], as_json: bool) -> bool {
        let read = serde_json::from_slice::<Value>(line);
        if let Ok(event) = &read
            && event.get("end").is_some()
        {
            let counted = (self.left_out > 0).then(|| counted(event, self.left_out));
            self.put(match &counted {
                Some(event) if as_json => as_line(&event.to_string()),
                None if as_json => as_line(&String::from_utf8_lossy(line)),
                _ => block(counted.as_ref().unwrap_or(event)),
            });
            return false;
        }
        let text = match &read {
            _ if as_json => as_line(&String::from_utf8_lossy(line)),
            Ok(event) => block(event),
            Err(why) => unread(line, why),
        };
        let waiting = self.waiting.load(Ordering::Relaxed);
        if waiting > 0 && waiting + text.len() > WAITING_BYTES {
            self.left_out += 1;
            // The thread that would have printed it may have ended with its output.
            return !matches!(self.over.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        }
        self.put(text)
    }

    /// False when nobody reads any more.
    fn put(&self, text: String) -> bool {
        self.waiting.fetch_add(text.len(), Ordering::Relaxed);
        self.texts.send(text).is_ok()
    }

    /// Waits until all is printed, or it is told to stop.
    async fn finish(self, stopped: &AtomicBool) {
        let Printer { texts, mut over, left_out, .. } = self;
        drop(texts);
        if unless(stopped, &mut over).await.is_none() && tokio::time::timeout(LAST_WORDS, over).await.is_err() {
            return;
        }
        if left_out > 0 {
            eprintln!(
                "ringpost: {left_out} records were not printed, since standard output is read too slowly: more than {} MiB waited. They are counted as missed; --sample shows fewer.",
                WAITING_BYTES >> 20
            );
        }
    }
}

/// Until there is no more, or nobody is left to tell since standard output is closed.
fn print(texts: &Receiver<String>, waiting: &AtomicUsize) {
    let mut out = std::io::stdout();
    for text in texts {
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            return;
        }
        waiting.fetch_sub(text.len(), Ordering::Relaxed);
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

/// The last line, of which so many records were left out here.
fn counted(event: &Value, left_out: u64) -> Value {
    let mut event = event.clone();
    let counts = ["shown", "missed"].map(|name| event.get(name).and_then(Value::as_u64));
    if let (Some(last), [Some(shown), Some(missed)]) = (event.as_object_mut(), counts) {
        last.insert("shown".to_owned(), shown.saturating_sub(left_out).into());
        last.insert("missed".to_owned(), missed.saturating_add(left_out).into());
    }
    event
}

/// Characters that a terminal does not act on, and that do not turn the direction of text.
fn is_harmless(letter: char) -> bool {
    !letter.is_control()
        && !matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Other characters as escapes.
fn clean(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        if is_harmless(letter) { out.push(letter) } else { out.extend(letter.escape_unicode()) }
    }
    out
}

/// JSON that means the same, in one line, with escapes for other characters. Those below the space stand between its parts
/// only.
fn as_line(json: &str) -> String {
    let mut out = String::new();
    for letter in json.trim_end().chars() {
        match letter {
            '\0'..'\u{20}' => out.push(' '),
            letter if is_harmless(letter) => out.push(letter),
            letter => {
                letter.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
            }
        }
    }
    out.push('\n');
    out
}

/// A line as it came: deeper than can be read, with a number that is too large, or no JSON at all.
fn unread(line: &[u8], why: &serde_json::Error) -> String {
    let text = clean(String::from_utf8_lossy(line).trim_end());
    format!("a line that cannot be read here, as it came ({why}):\n  {text}\n\n")
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
        field(if event.get("unheard").is_some() { "unheard" } else { "code" }),
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
        let known = ["status", "error", "attempts", "queue_us", "response_us"];
        let said = known.iter().filter_map(|name| Some(format!(", {name} {}", of(name)?)));
        // People count from one.
        let place = call["batch_place"].as_u64().map(|place| place.saturating_add(1));
        let batch = place.zip(of("batch")).map(|(place, records)| format!(", batch {place} of {records}"));
        let (outcome, batch) = (of("outcome").unwrap_or_default(), batch.unwrap_or_default());
        put("answer", format!("{outcome}{batch}{}", said.collect::<String>()));
    }
    // In the order of a record's way, which JSON objects do not keep.
    let times = Stage::ALL.iter().filter_map(|stage| Some((stage.name(), event["timings_us"].get(stage.name())?)));
    put("times", times.map(|(name, time)| format!("{name} {} us", plain(time))).collect::<Vec<_>>().join(", "));
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_cannot_drive_the_terminal() {
        assert_eq!(clean("a\u{1b}[2J\u{9b}\n\u{202e}ä"), "a\\u{1b}[2J\\u{9b}\\u{a}\\u{202e}ä");
        let json = "{\"a\":\t\"\u{9b}2J\u{7f}\u{202e}ä\u{1f600}\\n\"}\r\n";
        assert_eq!(as_line(json), "{\"a\": \"\\u009b2J\\u007f\\u202eä\u{1f600}\\n\"}\n");
        let same = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(same(json), same(&as_line(json)));
        let event = serde_json::json!({ "set": "\u{1b}]0;x\u{7}", "destinations": [{ "name": "\u{1b}c", "body": "\r\u{1b}" }] });
        assert!(!block(&event).chars().any(|letter| letter.is_control() && letter != '\n'));
    }

    #[test]
    fn times_stand_in_the_order_of_a_records_way() {
        let event =
            serde_json::json!({ "timings_us": { "total": 9.5, "ack-wait": 1, "decode": 2, "receive-wait": 3 } });
        assert!(
            block(&event).contains("receive-wait 3 us, decode 2 us, ack-wait 1 us, total 9.5 us\n"),
            "{}",
            block(&event)
        );
    }

    #[test]
    fn a_code_that_nobody_heard_and_a_place_in_a_batch_are_told_in_words() {
        let event = serde_json::json!({ "unheard": 0, "outcome": "unheard", "destinations": [
            { "outcome": "success", "batch": 50, "batch_place": 0, "status": 200 }, { "outcome": "error", "status": 500 }] });
        let text = block(&event);
        assert!(text.contains(" code 0 unheard\n"), "{text}");
        assert!(
            text.contains("success, batch 1 of 50, status 200\n") && text.contains("error, status 500\n"),
            "{text}"
        );
    }

    #[test]
    fn names_are_encoded() {
        assert_eq!(encoded("a b&c=ä"), "a%20b%26c%3D%C3%A4");
    }
}
