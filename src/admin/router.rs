//! A request of the manage port to its answer.

use serde_json::json;

use super::access::{self, Asker};
use super::history::{History, POINTS};
use super::text::Exposition;
use super::view::View;
use super::{log_levels, metrics_json, prometheus, status, tap};
use crate::logging::LogLevels;

/// Before the official paths.
pub const OFFICIAL: &str = "/manage/rest/v1";

/// The status page: one file that needs no other.
const PAGE: &str = include_str!("page/index.html");

/// What the status page may do: its own style and script, an icon that is part of it, and requests to where it came from.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `GET`, `HEAD`, …
    pub method: &'a str,
    /// Without the query.
    pub path: &'a str,
    /// Behind the `?`.
    pub query: &'a str,
    /// `Accept`.
    pub accept: Option<&'a str>,
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// Of PUT and POST.
    pub body: &'a [u8],
    /// Who asks.
    pub asker: Asker<'a>,
}

/// What the answers are made from.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// Reads figures and facts; not before it is known that they may be seen.
    pub view: &'a dyn Fn() -> View,
    /// The last minutes.
    pub history: &'a History,
    /// Log levels, to read and to change.
    pub levels: &'a LogLevels,
    /// Of `service.manage.token-file`.
    pub token: Option<&'a [u8]>,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// 200 to 599.
    pub status: u16,
    /// Of the body.
    pub content_type: &'static str,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// Also for HEAD, which does not send it.
    pub body: std::borrow::Cow<'static, str>,
    /// In place of the body: records as they go through.
    pub tap: Option<tap::Asked>,
}

impl Response {
    /// A page of text.
    pub fn text(status: u16, body: impl Into<String>) -> Response {
        Response {
            status,
            content_type: "text/plain; charset=utf-8",
            headers: Vec::new(),
            body: Into::<String>::into(body).into(),
            tap: None,
        }
    }

    fn json(status: u16, body: &serde_json::Value) -> Response {
        Response { content_type: "application/json", ..Response::text(status, format!("{body}\n")) }
    }
}

/// What there is to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Topic {
    Page,
    Status,
    Prometheus,
    Metrics,
    Health,
    Ready,
    Version,
    Config,
    Logging,
    Tap,
}

/// Paths, below the official prefix or without it.
const TOPICS: [(&str, Topic); 9] = [
    ("/status", Topic::Status),
    ("/prometheus", Topic::Prometheus),
    ("/metrics", Topic::Metrics),
    ("/health", Topic::Health),
    ("/ready", Topic::Ready),
    ("/version", Topic::Version),
    ("/config", Topic::Config),
    ("/logging", Topic::Logging),
    ("/tap", Topic::Tap),
];

impl Topic {
    fn of(path: &str) -> Option<Topic> {
        let name = path.strip_prefix(OFFICIAL).unwrap_or(path);
        // `/metrics` at the top is where Prometheus looks by itself, and `/manage/rest/v1/metrics` is JSON.
        if path == "/metrics" {
            return Some(Topic::Prometheus);
        }
        if path == "/" {
            return Some(Topic::Page);
        }
        TOPICS.iter().find(|(known, _)| *known == name).map(|(_, topic)| *topic)
    }

    /// Shown to anybody who reaches the port.
    const fn is_open(self) -> bool {
        !matches!(self, Topic::Page | Topic::Status | Topic::Config | Topic::Logging | Topic::Tap)
    }

    /// The methods that it takes, as `Allow` names them.
    const fn methods(self) -> &'static str {
        match self {
            Topic::Logging => "GET, HEAD, PUT, POST",
            Topic::Tap => "GET",
            _ => "GET, HEAD",
        }
    }
}

/// Answers.
pub fn answer(request: &Request<'_>, site: Site<'_>) -> Response {
    let Some(topic) = Topic::of(request.path) else {
        let paths: String = TOPICS.iter().map(|(path, _)| format!("{OFFICIAL}{path}\n")).collect();
        return Response::text(404, format!("there is no such page; there are:\n/\n{paths}"));
    };
    if !topic.methods().split(", ").any(|method| method == request.method) {
        let mut refused = Response::text(405, format!("only {} are taken here\n", topic.methods()));
        refused.headers.push(("allow", topic.methods().to_owned()));
        return refused;
    }
    // The page holds no figures: links of other pages may lead to it.
    let asker = if topic == Topic::Page { request.asker.led() } else { request.asker };
    if !topic.is_open()
        && let Err(refusal) = access::check(asker, site.token)
    {
        if refusal == access::Refusal::Token {
            let mut refused = Response::text(401, refusal.text());
            refused.headers.push(("www-authenticate", "Bearer".to_owned()));
            // Browsers ask for it, and send it for the page and for what it reads.
            refused.headers.push(("www-authenticate", "Basic realm=\"ringpost\", charset=\"UTF-8\"".to_owned()));
            return refused;
        }
        return Response::text(403, refusal.text());
    }
    let view = &(site.view)();
    match topic {
        Topic::Page => page(),
        Topic::Status => Response::json(200, &status::render(view, site.history, points(request.query))),
        Topic::Prometheus => {
            let format = Exposition::of(request.accept);
            let body = prometheus::render(view, site.history, format);
            Response { content_type: format.content_type(), ..Response::text(200, body) }
        }
        Topic::Metrics => Response::json(200, &metrics_json::render(view)),
        Topic::Health => health(view),
        Topic::Ready => ready(view, request.query),
        Topic::Version => Response::json(200, &json!({ "name": "ringpost", "version": view.facts.version })),
        Topic::Config => Response::text(200, view.facts.config.clone()),
        Topic::Logging => logging(request, site.levels),
        Topic::Tap => tapped(request.query, view),
    }
}

fn logging(request: &Request<'_>, levels: &LogLevels) -> Response {
    if matches!(request.method, "PUT" | "POST") {
        // A form of another site's page in a browser on this machine cannot send this type unasked.
        let is_json = |kind: &str| {
            kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
        };
        if !request.content_type.is_some_and(is_json) {
            return Response::text(415, "send the levels as Content-Type: application/json\n");
        }
        if let Err(why) = log_levels::change(levels, request.body) {
            return Response::text(400, format!("{why}\n"));
        }
    }
    Response::json(200, &log_levels::render(levels))
}

/// Records as they go through, for a while.
fn tapped(query: &str, view: &View) -> Response {
    let names: Vec<&str> = view.facts.destinations.iter().map(|destination| destination.name.as_str()).collect();
    match tap::asked(query, &names) {
        // It would end before its first record.
        Ok(_) if !view.is_open() => {
            Response::text(503, "it does not listen, since it starts or stops: ask again when /ready answers 200\n")
        }
        Ok(asked) => {
            Response { content_type: "application/x-ndjson", tap: Some(asked), ..Response::text(200, String::new()) }
        }
        Err(why) => Response::text(400, format!("{why}\n")),
    }
}

fn page() -> Response {
    let headers =
        vec![("content-security-policy", PAGE_POLICY.to_owned()), ("referrer-policy", "no-referrer".to_owned())];
    Response { status: 200, content_type: "text/html; charset=utf-8", headers, body: PAGE.into(), tap: None }
}

/// `history=N`: the last N seconds; without it all that there are, and none for 0.
fn points(query: &str) -> Option<usize> {
    let asked = query.split('&').find_map(|pair| pair.strip_prefix("history="));
    let points = asked.map_or(POINTS, |count| count.parse().unwrap_or(POINTS));
    (points > 0).then_some(points)
}

fn health(view: &View) -> Response {
    if view.is_alive {
        Response::json(200, &json!({ "status": "alive" }))
    } else {
        Response::json(503, &json!({ "status": "stalled", "reason": "an executor has not ticked for a second" }))
    }
}

fn ready(view: &View, query: &str) -> Response {
    let asks_destinations = query.split('&').any(|pair| pair == "destinations=1");
    let unreachable: Vec<&str> = if asks_destinations {
        let all = view.facts.destinations.iter().enumerate();
        all.filter(|(place, _)| !view.is_reachable(*place)).map(|(_, destination)| destination.name.as_str()).collect()
    } else {
        Vec::new()
    };
    let reason = match (view.is_open(), view.is_alive, unreachable.is_empty()) {
        (false, ..) => "not listening: it starts or stops".to_owned(),
        (true, false, _) => "an executor has not ticked for a second".to_owned(),
        (true, true, false) => format!("no healthy URL: {}", unreachable.join(", ")),
        (true, true, true) => return Response::json(200, &json!({ "status": "ready" })),
    };
    Response::json(503, &json!({ "status": "not ready", "reason": reason }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::view::example::view;

    #[test]
    fn a_tap_of_one_that_does_not_listen_is_refused_with_the_reason() {
        let open = view("d0", Vec::new());
        assert_eq!(tapped("limit=5", &open).tap.map(|asked| asked.limit), Some(5));
        let closed = View { is_listening: false, ..open };
        let refused = tapped("limit=5", &closed);
        assert_eq!((refused.status, refused.tap), (503, None));
        assert!(refused.body.contains("starts or stops"), "{}", refused.body);
        assert_eq!(tapped("limit=x", &closed).status, 400, "what is wrong is said first");
    }
}
