//! `destinations.NAME.headers`: names, and where their values are from. No message repeats a value.

use super::context::{Context, join};
use super::fault::shown;
use super::model::{Header, HeaderValue, Headers, Secret};
use super::schema::HEADER_SOURCES;
use super::value;
use super::view::{View, word};
use super::yaml::{Entry, Kind, Node};

/// Most headers of one destination.
const MAX_HEADERS: usize = 64;
/// Longest name.
const MAX_NAME: usize = 128;
/// Longest value; many servers refuse a request whose headers have more than 8 KiB together.
const MAX_VALUE: usize = 8 << 10;
/// Largest file that is read for a value.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The header that requests with one record carry unless it is taken out.
const DIGEST: &str = "aerospike-digest";

/// Reads the headers of a destination.
pub fn read(context: &mut Context<'_>, destination: &View<'_>) -> Headers {
    let mut headers = Headers::default();
    if let Some(entry) =
        destination.find("headers").filter(|entry| entry.value.text().is_some() && !entry.value.is_null())
    {
        // As anywhere, but without repeating what may be a secret.
        let message = "a text where a section is needed; write `NAME: \"text\"` below, indented".to_owned();
        context.fault(entry.value.at, &destination.path_of("headers"), message);
        return headers;
    }
    let view = destination.section(context, "headers");
    let mut known: Vec<(String, usize)> = Vec::new();
    for (count, entry) in view.entries().iter().enumerate() {
        if count >= MAX_HEADERS {
            context.fault(entry.key_at, &view.path, format!("more than {MAX_HEADERS} headers; write fewer"));
            break;
        }
        let path = join(&view.path, &entry.key);
        context.lines.push((path.clone(), entry.key_at.line));
        let small = entry.key.to_ascii_lowercase();
        if let Err(why) = check_name(&small) {
            context.fault(entry.key_at, &path, why);
        } else if let Some((_, line)) = known.iter().find(|(name, _)| *name == small) {
            let message = format!("the same header as on line {line}, since case does not count; keep one of the two");
            context.fault(entry.key_at, &path, message);
        }
        let is_digest = small == DIGEST;
        known.push((small, entry.key_at.line));
        if is_digest && entry.value.is_null() && entry.value.plain() != Some("") {
            headers.digest = false;
            continue;
        }
        match one(context, entry, &path) {
            Some(HeaderValue::Digest) if is_digest => {}
            Some(value) => {
                headers.digest &= !is_digest;
                headers.list.push(Header { name: entry.key.clone(), value });
            }
            None => {}
        }
    }
    headers
}

fn one(context: &mut Context<'_>, entry: &Entry, path: &str) -> Option<HeaderValue> {
    let node = &entry.value;
    if matches!(node.kind, Kind::Map(_)) {
        let view = View::of(context, entry, path.to_owned());
        return sourced(context, &view);
    }
    match fixed(node) {
        Ok(text) => Some(HeaderValue::Static(Secret(text))),
        Err(message) => {
            context.fault(node.at, path, message);
            None
        }
    }
}

/// The text itself.
fn fixed(node: &Node) -> Result<String, String> {
    let example = "write the text in quotes, or `{ source: ... }`";
    let Some(text) = node.text() else { return Err(format!("a list where a header's value is needed; {example}")) };
    if node.is_null() {
        return Err(format!("has no value; {example}, or take the header out"));
    }
    if value::is_ambiguous(node) {
        return Err("a number or a boolean in YAML where text is needed; write it in quotes".to_owned());
    }
    check_value(text)
        .map_err(|why| format!("{why} (the value is not shown); write visible ASCII, or take the header out"))?;
    Ok(text.to_owned())
}

#[derive(Clone, Copy)]
enum Source {
    Plain(fn() -> HeaderValue),
    Bin,
    Env,
    File,
}

fn sourced(context: &mut Context<'_>, view: &View<'_>) -> Option<HeaderValue> {
    if view.find("source").is_none() {
        let message = format!("missing; write one of {}, or only the text itself", HEADER_SOURCES.join(", "));
        view.fault(context, "source", message);
    }
    let source = view.read(context, "source", None, |node| source(node).map(Some));
    let details =
        ["bin-name", "name", "path"].map(|key| view.read(context, key, None, |node| value::text(node).map(Some)));
    let needed = match source? {
        Source::Plain(_) => None,
        Source::Bin => Some("bin-name"),
        Source::Env => Some("name"),
        Source::File => Some("path"),
    };
    for key in ["bin-name", "name", "path"] {
        if view.find(key).is_some() && needed != Some(key) {
            view.warn(context, key, "has no effect with this `source`; take it out".to_owned());
        }
    }
    if let Some(key) = needed.filter(|key| view.find(key).is_none()) {
        view.fault(context, key, format!("missing, and this `source` needs it; write `{key}: ...`"));
    }
    let [bin_name, name, path] = details;
    match source? {
        Source::Plain(value) => Some(value()),
        Source::Bin => bin_name.map(HeaderValue::Bin),
        Source::Env => {
            let name = name?;
            let value = (context.outside.variable)(&name);
            let value = checked(context, view, "name", &format!("the environment variable {}", shown(&name)), value)?;
            Some(HeaderValue::Env(name, Secret(value)))
        }
        Source::File => {
            let written = path?;
            let path = context.directory.join(&written);
            let value = (context.outside.file)(&path, MAX_FILE_BYTES).and_then(first_line);
            let value = checked(context, view, "path", &format!("the file {}", shown(&written)), value)?;
            Some(HeaderValue::File(path, Secret(value)))
        }
    }
}

fn source(node: &Node) -> Result<Source, String> {
    let words: [(&str, Source); 10] = [
        ("digest", Source::Plain(|| HeaderValue::Digest)),
        ("namespace", Source::Plain(|| HeaderValue::Namespace)),
        ("set", Source::Plain(|| HeaderValue::Set)),
        ("user-key", Source::Plain(|| HeaderValue::UserKey)),
        ("lut", Source::Plain(|| HeaderValue::LastUpdate)),
        ("generation", Source::Plain(|| HeaderValue::Generation)),
        ("operation", Source::Plain(|| HeaderValue::Operation)),
        ("bin-value", Source::Bin),
        ("env", Source::Env),
        ("file", Source::File),
    ];
    match node.text() {
        Some("static") => Err("`static` needs no source; write `NAME: \"text\"` instead of the section".to_owned()),
        _ => word(node, &words),
    }
}

fn checked(
    context: &mut Context<'_>,
    view: &View<'_>,
    key: &str,
    what: &str,
    value: Result<String, String>,
) -> Option<String> {
    let message = match value {
        Ok(value) => match check_value(&value) {
            Ok(()) => return Some(value),
            Err(why) => format!("the value in {what} {why}; correct it (the value is not shown)"),
        },
        Err(why) => format!("{what} cannot be read: {why}"),
    };
    view.fault(context, key, message);
    None
}

/// Without its line end; blanks at its end stay, as in the official password files.
fn first_line(bytes: Vec<u8>) -> Result<String, String> {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    String::from_utf8(line.to_vec()).map_err(|_| "its first line is not UTF-8; write visible ASCII".to_owned())
}

/// Whether a header of this name, in small letters, may be set by the configuration.
fn check_name(name: &str) -> Result<(), String> {
    let why = match name {
        "connection" | "keep-alive" | "proxy-connection" | "te" | "trailer" | "transfer-encoding" | "upgrade"
        | "http2-settings" => "is about the connection, which the connector manages itself",
        "content-length" => "is counted by the connector",
        "host" => "is taken from the URL",
        "expect" => "asks for an answer before the body, which is not waited for",
        "content-encoding" => "is set by `compression`",
        "proxy-authenticate" | "www-authenticate" => "is a header of responses",
        _ => {
            let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            return if name.is_empty() || !name.bytes().all(is_token) {
                Err("no header can have this name; write letters, digits and -".to_owned())
            } else if name.len() > MAX_NAME {
                Err(format!("a name longer than {MAX_NAME} bytes; write a shorter one"))
            } else {
                Ok(())
            };
        }
    };
    Err(format!("this header {why}; take it out"))
}

/// Whether this can stand in a header: what is wrong, as the end of a sentence. Never repeats it.
fn check_value(value: &str) -> Result<(), String> {
    if value.is_empty() {
        return Err("is empty".to_owned());
    }
    if value.len() > MAX_VALUE {
        return Err(format!("is longer than {MAX_VALUE} bytes"));
    }
    if value.contains(['\r', '\n']) {
        return Err("has a line break".to_owned());
    }
    if value.starts_with([' ', '\t']) || value.ends_with([' ', '\t']) {
        return Err("begins or ends with a blank, which would be lost".to_owned());
    }
    match value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ' || byte == b'\t') {
        true => Ok(()),
        false => Err("has a character that is no visible ASCII".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tokens_that_the_connector_does_not_set_itself() {
        for good in ["x-api-key", "authorization", "a", "x_y.z!", "content-type", &"a".repeat(128)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        let refused = "connection keep-alive proxy-connection te trailer transfer-encoding upgrade content-length host \
                       www-authenticate expect http2-settings content-encoding a:b :path a,b ü";
        for bad in refused.split(' ').chain(["", "a b", &"a".repeat(129)]) {
            assert!(check_name(bad).is_err_and(|why| why.contains("; ")), "{bad}");
        }
    }

    #[test]
    fn values_are_visible_ascii_with_blanks_inside() {
        for good in ["a", "Basic aGk6aGk=", "a\tb  c", "~!\"", &"a".repeat(8192)] {
            assert_eq!(check_value(good), Ok(()), "{good}");
        }
        for bad in ["", " a", "a ", "\ta", "a\nb", "a\r", "a\0", "\u{7f}", "ü", &"a".repeat(8193)] {
            assert!(check_value(bad).is_err(), "{bad:?}");
        }
        assert_eq!(first_line(b"a b \r\nc".to_vec()).as_deref(), Ok("a b "));
        assert_eq!(first_line(b"".to_vec()).as_deref(), Ok(""));
    }
}
