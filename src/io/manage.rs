//! The manage port: a thread of its own with hyper on it. It reads what executors have published, and never waits for one.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::Method;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_rustls::TlsAcceptor;

use super::figures::Figures;
use super::listen::{self, ListenError, Placement};
use super::process::Sampler;
use super::shell::Clock;
use super::tap::{self, Hub};
use crate::admin::access::Asker;
use crate::admin::history::{self, History};
use crate::admin::router::{self, Request, Response};
use crate::admin::view::{CertificateFacts, Facts, View};
use crate::config::model::Manage as Settings;
use crate::delivery::tap::MOST_TAPS;
use crate::logging::{LogGuard, LogLevels, LostLines, RateLimit, more};
use crate::tls::{Expiry, Materials};

pub(super) mod places;

use places::{MOST_CONNECTIONS, MOST_OF_ONE_PEER, Place, Places, Room};

/// A connection that has not sent a whole request for so long is closed.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// A connection takes no further request after this, and has [`LAST_WORDS`] for the one that it has.
const LIFE: Duration = Duration::from_secs(60);
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Bytes of a body.
const BODY_BYTES: usize = 64 * 1024;

/// Bytes of a request's head.
const HEAD_BYTES: usize = 16 * 1024;

/// Headers of browsers that have no name in the library.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_DESTINATION: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Loads are those of so many looks.
const LOAD_LOOKS: u32 = 5;

/// A pause after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// TCP keep-alive: the first probe after so long without a byte, and the next ones; and what a peer does not confirm or take
/// for so long ends the connection. A tap would outlive a client that has gone without a word.
const KEEPALIVE_TIME: Duration = Duration::from_secs(20);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const UNCONFIRMED: Duration = Duration::from_secs(30);

/// Connections that are accepted before others have a turn; fewer than one peer may have.
const ACCEPTED_AT_ONCE: u64 = 8;

/// One line in so long about connections that are ended for others, and one about those that cannot be accepted.
const ACCEPT_LINES: Duration = Duration::from_secs(60);

/// What the pages read of a connector.
#[derive(Debug, Clone)]
pub struct Sight {
    /// Of the executors.
    pub figures: Figures,
    /// Counts connections that are not allowed.
    pub placement: Arc<Placement>,
    /// Whether connections are accepted.
    pub listening: Arc<AtomicBool>,
    /// The executors' clock.
    pub clock: Clock,
    /// Own certificates.
    pub materials: Materials,
    /// Records as they go through.
    pub taps: Hub,
}

/// Bound, and not served yet.
#[derive(Debug)]
pub struct Bound {
    listeners: Vec<TcpListener>,
    token: Option<Vec<u8>>,
}

/// A manage port could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ManageError {
    /// Its port.
    #[error("service.manage: {0}")]
    Listen(#[from] ListenError),
    /// Its socket or thread.
    #[error("service.manage: cannot start: {0}")]
    Io(#[from] std::io::Error),
}

impl Bound {
    /// Binds the ports.
    ///
    /// # Errors
    /// A port in use, above all.
    pub fn new(settings: &Settings) -> Result<Bound, ManageError> {
        let mut listeners = Vec::new();
        for address in &settings.addresses {
            for port in &settings.ports {
                let listener = listen::bind(SocketAddr::new(*address, *port))?;
                listener.set_nonblocking(true)?;
                listeners.push(listener);
            }
        }
        Ok(Bound { listeners, token: settings.token.as_ref().map(|token| token.0.clone().into_bytes()) })
    }

    /// Answers from here on.
    ///
    /// # Errors
    /// No thread.
    pub fn serve(self, sight: Sight, facts: Facts, log: &LogGuard) -> Result<Manage, ManageError> {
        let addresses = self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect::<Vec<_>>();
        let scheme = if sight.materials.manage.is_some() { "https" } else { "http" };
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let (lost, levels) = (log.lost_lines(), log.levels());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let thread = std::thread::Builder::new().name("ringpost-manage".to_owned()).spawn(move || {
            let site = Site {
                token: self.token,
                facts: Arc::new(facts),
                sight,
                lost,
                levels,
                sampler: RefCell::default(),
                history: RefCell::default(),
            };
            tokio::task::LocalSet::new().block_on(&runtime, run(self.listeners, Rc::new(site), &stopped));
        })?;
        for address in addresses {
            tracing::info!(target: "server", "metrics and health are on {scheme}://{address}{}/prometheus", router::OFFICIAL);
        }
        Ok(Manage { stop, thread: Some(thread) })
    }
}

/// The thread. Dropping it ends it, and every connection.
#[derive(Debug)]
pub struct Manage {
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Manage {
    fn drop(&mut self) {
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What answers.
struct Site {
    token: Option<Vec<u8>>,
    facts: Arc<Facts>,
    sight: Sight,
    lost: LostLines,
    levels: LogLevels,
    sampler: RefCell<Sampler>,
    history: RefCell<History>,
}

impl Site {
    /// Adds what happened since the last look.
    fn look(&self) {
        self.history.borrow_mut().look(self.sight.clock.now(), &self.sight.figures.read());
    }

    fn certificates(&self) -> Vec<CertificateFacts> {
        let materials = &self.sight.materials;
        let of = |place: String, expiry: Option<Expiry>| Some(CertificateFacts { place, expiry: expiry? });
        let service = materials.service.iter().chain(&materials.manage);
        let service = service.filter_map(|handle| of(handle.name().to_owned(), handle.expiry()));
        let destinations = materials.destinations.iter().flatten();
        let destinations =
            destinations.filter_map(|handle| of(format!("destinations.{}", handle.name()), handle.expiry()));
        service.chain(destinations).collect()
    }

    fn view(&self) -> View {
        let now = self.sight.clock.now();
        let lag = self.history.borrow().lag();
        let executors = self.sight.figures.read();
        View {
            facts: Arc::clone(&self.facts),
            // One that drains may have ended, as it should.
            is_alive: executors.iter().all(|it| it.is_draining || now.monotonic.since(it.taken) <= history::STILL),
            is_listening: self.sight.listening.load(Ordering::Acquire),
            process: self.sampler.borrow().read(),
            uptime: Duration::from_nanos(now.monotonic.as_nanos()),
            not_allowed: self.sight.placement.not_allowed(),
            too_many: self.sight.placement.too_many(),
            lost_lines: [self.lost.dropped(), self.lost.refused()],
            lag: (lag.count > 0).then(|| Duration::from_nanos(lag.p99)),
            certificates: self.certificates(),
            now,
            executors,
        }
    }

    async fn answer(&self, request: hyper::Request<Incoming>, peer: IpAddr) -> Response {
        let (head, body) = request.into_parts();
        let body = if matches!(head.method, Method::PUT | Method::POST) {
            match tokio::time::timeout(HEAD_TIME, Limited::new(body, BODY_BYTES).collect()).await {
                Ok(Ok(body)) => body.to_bytes(),
                Ok(Err(_)) => {
                    return Response::text(413, format!("the body is cut off, or has more than {BODY_BYTES} bytes\n"));
                }
                Err(_) => return Response::text(408, "the body did not come\n"),
            }
        } else {
            Bytes::new()
        };
        let header = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
        let asked = Request {
            method: head.method.as_str(),
            path: head.uri.path(),
            query: head.uri.query().unwrap_or_default(),
            accept: header(ACCEPT),
            content_type: header(CONTENT_TYPE),
            body: &body,
            asker: Asker {
                peer,
                host: header(HOST),
                origin: header(ORIGIN),
                site: header(FETCH_SITE),
                destination: header(FETCH_DESTINATION),
                authorization: header(AUTHORIZATION),
            },
        };
        let history = self.history.borrow();
        let site = router::Site {
            view: &|| self.view(),
            history: &history,
            levels: &self.levels,
            token: self.token.as_deref(),
        };
        let answer = router::answer(&asked, site);
        if !asked.body.is_empty() && answer.status == 200 {
            tracing::info!(target: "server", "{peer} changed log levels on the manage port: they are {}", answer.body.trim_end());
        }
        answer
    }
}

async fn run(listeners: Vec<TcpListener>, site: Rc<Site>, stop: &Notify) {
    let places = Places::default();
    for listener in listeners {
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => drop(tokio::task::spawn_local(accept(listener, Rc::clone(&site), places.clone()))),
            Err(error) => tracing::error!(target: "server", "service.manage: cannot listen: {error}"),
        }
    }
    let sampling = async {
        let mut steps = tokio::time::interval(history::STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut looks = 0..;
        loop {
            steps.tick().await;
            if looks.next().is_some_and(|look: u32| look.is_multiple_of(LOAD_LOOKS)) {
                site.sampler.borrow_mut().sample();
            }
            site.look();
        }
    };
    tokio::select! {
        () = stop.notified() => {}
        () = sampling => {}
    }
}

async fn accept(listener: tokio::net::TcpListener, site: Rc<Site>, places: Places) {
    let (mut crowded, mut failed) = (RateLimit::new(1, ACCEPT_LINES), RateLimit::new(1, ACCEPT_LINES));
    for accepted in 1_u64.. {
        // A request that came with its connection is read before others can take its place.
        if accepted.is_multiple_of(ACCEPTED_AT_ONCE) {
            tokio::task::yield_now().await;
        }
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if let Some(left_out) = failed.allow(site.sight.clock.monotonic()) {
                    tracing::warn!(target: "server",
                        "manage port: a connection cannot be accepted: {error}; it is tried again{}", more(left_out));
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let place = places.take(peer.ip());
        if !matches!(place, Some((_, Room::Free)))
            && let Some(left_out) = crowded.allow(site.sight.clock.monotonic())
        {
            tracing::warn!(target: "server",
                "{peer}: manage port: more than {MOST_CONNECTIONS} connections, or {MOST_OF_ONE_PEER} from one address: the one that has been idle longest is closed for a new one{}", more(left_out));
        }
        if let Some((place, _)) = place {
            let site = Rc::clone(&site);
            tokio::task::spawn_local(async move {
                let place = Rc::new(place);
                tokio::select! {
                    () = place.lost() => {}
                    () = serve_in_tls(stream, peer, site, &place) => {}
                }
            });
        }
    }
}

fn set_up(socket: &SockRef<'_>) -> std::io::Result<()> {
    socket.set_tcp_user_timeout(Some(UNCONFIRMED))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_TIME).with_interval(KEEPALIVE_INTERVAL))
}

/// One connection, in TLS if there is any.
async fn serve_in_tls(stream: TcpStream, peer: SocketAddr, site: Rc<Site>, place: &Rc<Place>) {
    if let Err(why) = set_up(&SockRef::from(&stream)) {
        return tracing::debug!(target: "server", "{peer}: manage port: connection closed before its first byte: {why}");
    }
    let Some(tls) = &site.sight.materials.manage else { return serve(stream, peer.ip(), site, place).await };
    let acceptor = TlsAcceptor::from(tls.config());
    match tokio::time::timeout(HEAD_TIME, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => serve(stream, peer.ip(), site, place).await,
        // Whoever may connect may do that as often as he likes.
        Ok(Err(why)) => tracing::debug!(target: "server", "{peer}: manage port: TLS: {why}"),
        Err(_) => tracing::debug!(target: "server", "{peer}: manage port: the TLS handshake took too long"),
    }
}

/// One connection. What is wrong with it is its peer's affair.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, peer: IpAddr, site: Rc<Site>, place: &Rc<Place>) {
    // A tap has its time, however long its connection has been there.
    let until = Rc::new(Cell::new(Instant::now() + LIFE));
    let lives = Rc::clone(&until);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (site, lives, place) = (Rc::clone(&site), Rc::clone(&lives), Rc::clone(place));
        async move {
            place.asked();
            // Requests that came together are answered in turn with those of other connections.
            tokio::task::yield_now().await;
            let answer = site.answer(request, peer).await;
            let asked = answer.tap.as_ref().map(|asked| asked.time);
            let response = site.hyper_response(answer, peer, &place);
            if let (Some(time), Either::Right(_)) = (asked, response.body()) {
                lives.set(lives.get().max(Instant::now() + time));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    while tokio::time::timeout_at(until.get(), connection.as_mut()).await.is_err() {
        if until.get() <= Instant::now() {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(LAST_WORDS, connection).await;
            return;
        }
    }
}

impl Site {
    /// The answer, with the records of a tap for its body if it is one.
    fn hyper_response(
        &self,
        answer: Response,
        peer: IpAddr,
        place: &Rc<Place>,
    ) -> hyper::Response<Either<Full<Bytes>, tap::Stream>> {
        let Some(asked) = &answer.tap else { return whole(answer) };
        match self.sight.taps.begin(asked, Arc::clone(&self.sight.listening)) {
            Some(mut stream) => {
                stream.stands_at(Rc::clone(place));
                tracing::info!(target: "server", "{peer} taps records on the manage port");
                with_head(&answer, Either::Right(stream))
            }
            None => whole(Response::text(
                503,
                format!("{MOST_TAPS} taps are open already, which is as many as there may be: close one\n"),
            )),
        }
    }
}

/// With the body that it has.
fn whole<B>(mut answer: Response) -> hyper::Response<Either<Full<Bytes>, B>> {
    let body = match std::mem::take(&mut answer.body) {
        Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
        Cow::Owned(text) => Bytes::from(text),
    };
    with_head(&answer, Either::Left(Full::new(body)))
}

fn with_head<B>(answer: &Response, body: B) -> hyper::Response<B> {
    let mut response = hyper::Response::new(body);
    *response.status_mut() =
        hyper::StatusCode::from_u16(answer.status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    headers.insert(hyper::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(hyper::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for (name, value) in &answer.headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_find_out_by_themselves_that_a_peer_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = SockRef::from(&socket);
        set_up(&socket).unwrap();
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNCONFIRMED));
        assert!(socket.keepalive().unwrap());
        assert_eq!(
            (socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap()),
            (KEEPALIVE_TIME, KEEPALIVE_INTERVAL)
        );
    }
}
