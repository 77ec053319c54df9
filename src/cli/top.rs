//! `ringpost top`: the status page in a terminal, from the manage port of a connector that runs.
//!
//! One thread asks, the main thread draws and reads keys. The terminal is given back on every way out: keys, signals,
//! errors, panics.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::terminal::{
    self, BeginSynchronizedUpdate, Clear, ClearType, DisableLineWrap, EnableLineWrap, EndSynchronizedUpdate,
    EnterAlternateScreen, LeaveAlternateScreen,
};
use crossterm::{execute, queue};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use super::manage::{Asking, runtime, unanswered};
use super::{EXIT_FAILED, EXIT_USAGE, TopArgs};
use crate::admin::top::text::clean;
use crate::admin::top::{self, HISTORY, Screen, Silence, Status};
use crate::io::manage_client::Client;

/// What messages call it.
const ASKING: Asking = Asking { command: "top", shows: "its figures", missing: "no status page" };

/// Bytes of an answer; a thousand destinations with their last errors fit several times.
const MOST_BYTES: usize = 8 << 20;

/// How long the main thread waits for a key before it looks for answers and signals.
const LOOK: Duration = Duration::from_millis(100);

/// A signal ends it after so long also while the terminal takes nothing, so that nothing can be drawn or given back.
const STUCK: Duration = Duration::from_secs(2);

/// How often it is drawn although nothing has come: ages grow.
const REDRAW: Duration = Duration::from_secs(1);

/// Where the terminal's size is not known; a file may be wider than a terminal.
const SIZE: (u16, u16) = (80, 24);
const FILE_COLUMNS: usize = 120;

/// Shows the connector until `q`, or once.
pub fn top(args: &TopArgs) -> ExitCode {
    let client = match args.manage.client() {
        Ok(client) => client,
        Err(why) => {
            eprintln!("ringpost: {why}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let is_dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
    let done = if args.once || is_dumb || !std::io::stdout().is_terminal() {
        once(&client)
    } else {
        live(client, Duration::from_secs(u64::from(args.interval)))
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("ringpost: {why}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn once(client: &Client) -> Result<(), String> {
    let runtime = runtime()?;
    let status = runtime.block_on(ask(client));
    runtime.shutdown_background();
    let status = status?;
    let is_terminal = std::io::stdout().is_terminal();
    let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).filter(|columns| *columns > 0);
    let columns = if is_terminal { size().0 } else { columns.unwrap_or(FILE_COLUMNS) };
    let screen = Screen { columns, rows: None, has_colour: is_terminal && has_colour(), is_unicode: is_unicode() };
    let text = top::draw(Some(&status), None, None, screen).join("\n") + "\n";
    // Nobody is left to tell if standard output is closed.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

/// The figures, or what happened and what to do, cleaned.
async fn ask(client: &Client) -> Result<Status, String> {
    let why = |error| clean(&unanswered(&error));
    let answer = client.get(&format!("/status?history={HISTORY}")).await.map_err(why)?;
    let url = client.url();
    if answer.status != 200 {
        return Err(ASKING.refusal(url, answer.status));
    }
    let body = answer.whole(MOST_BYTES).await.map_err(why)?;
    Status::read(&body)
        .map_err(|why| format!("{url} answers, but not as a Ringpost does: {why}. Is this its service.manage port?"))
}

/// As https://no-color.org has it.
fn has_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// What the locale says; most terminals can if there is none.
fn is_unicode() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(|name| std::env::var(name).ok());
    let locale = set.map(|value| value.to_ascii_lowercase()).find(|value| !value.is_empty());
    locale.is_none_or(|value| value.contains("utf-8") || value.contains("utf8"))
}

fn size() -> (usize, usize) {
    let known = terminal::size().ok().filter(|(columns, rows)| *columns > 0 && *rows > 0);
    let (columns, rows) = known.unwrap_or(SIZE);
    (usize::from(columns), usize::from(rows))
}

type Answers = Receiver<Result<Status, String>>;

/// Asks again and again. The thread ends with the process: a look-up of a name can hold it.
fn start_asking(client: Client, interval: Duration) -> Result<Answers, String> {
    let (send, receive) = sync_channel(1);
    let runtime = runtime()?;
    let ask = move || {
        while send.send(runtime.block_on(ask(&client))).is_ok() {
            std::thread::sleep(interval);
        }
        runtime.shutdown_background();
    };
    let thread = std::thread::Builder::new().name("ringpost-top".to_owned()).spawn(ask);
    thread.map(|_| receive).map_err(|error| format!("cannot ask: {error}"))
}

fn live(client: Client, interval: Duration) -> Result<(), String> {
    let foot = format!("q quits · asked every {} s · {}", interval.as_secs(), client.url());
    let stopped = Arc::new(AtomicBool::new(false));
    let unwatched = |error: std::io::Error| format!("signals cannot be watched: {error}");
    for signal in [SIGTERM, SIGINT, SIGQUIT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stopped)).map_err(unwatched)?;
    }
    let is_stopped = Arc::clone(&stopped);
    let end = std::thread::Builder::new().name("ringpost-end".to_owned());
    end.spawn(move || end_when_stuck(&is_stopped)).map_err(unwatched)?;
    let answers = start_asking(client, interval)?;
    let cannot = |error: std::io::Error| {
        format!("the terminal does not do as it is told: {error}; ringpost top --once prints one picture without it")
    };
    let _window = Window::open().map_err(cannot)?;
    let (mut known, mut drawn) = (Known::default(), None::<Instant>);
    while !stopped.load(Ordering::Relaxed) {
        let news = known.take(&answers)?;
        if !IS_OPEN.load(Ordering::Relaxed) {
            return Err("a thread has met a defect of this program, which stands above".to_owned());
        }
        if news || drawn.is_none_or(|drawn| drawn.elapsed() >= REDRAW) {
            known.draw(&foot).map_err(cannot)?;
            drawn = Some(Instant::now());
        }
        if event::poll(LOOK).map_err(cannot)? {
            match event::read().map_err(cannot)? {
                Event::Key(key) if ends(key) => break,
                Event::Resize(..) => drawn = None,
                _ => {}
            }
        }
    }
    Ok(())
}

/// Ends with the process.
fn end_when_stuck(stopped: &AtomicBool) {
    while !stopped.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK);
    }
    std::thread::sleep(STUCK);
    // The main thread has not come back. What can be done without a write: the terminal's settings.
    let _ = terminal::disable_raw_mode();
    std::process::exit(i32::from(EXIT_FAILED));
}

fn ends(key: KeyEvent) -> bool {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind != KeyEventKind::Release
        && match key.code {
            KeyCode::Char('q' | 'Q') => !is_control,
            KeyCode::Char('c') => is_control,
            _ => false,
        }
}

/// The last answer, and why there is no newer one.
#[derive(Debug, Default)]
struct Known {
    status: Option<(Status, Instant)>,
    why: Option<String>,
}

impl Known {
    /// Whether something came.
    fn take(&mut self, answers: &Answers) -> Result<bool, String> {
        match answers.try_recv() {
            Ok(Ok(status)) => *self = Known { status: Some((status, Instant::now())), why: None },
            Ok(Err(why)) => self.why = Some(why),
            Err(TryRecvError::Empty) => return Ok(false),
            Err(TryRecvError::Disconnected) => {
                return Err("the thread that asks has ended, which is a defect of this program".to_owned());
            }
        }
        Ok(true)
    }

    fn draw(&self, foot: &str) -> std::io::Result<()> {
        let (columns, rows) = size();
        let screen = Screen { columns, rows: Some(rows), has_colour: has_colour(), is_unicode: is_unicode() };
        let age = self.status.as_ref().map(|(_, at)| at.elapsed());
        let silence = self.why.as_ref().map(|why| Silence { why: why.clone(), age });
        let status = self.status.as_ref().map(|(status, _)| status);
        let mut out = Vec::new();
        queue!(out, BeginSynchronizedUpdate, MoveTo(0, 0))?;
        for (place, line) in top::draw(status, silence.as_ref(), Some(foot), screen).into_iter().enumerate() {
            if place > 0 {
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(line.as_bytes());
            queue!(out, Clear(ClearType::UntilNewLine))?;
        }
        queue!(out, Clear(ClearType::FromCursorDown), EndSynchronizedUpdate)?;
        let mut terminal = std::io::stdout().lock();
        terminal.write_all(&out)?;
        terminal.flush()
    }
}

/// Whether the terminal is ours now.
static IS_OPEN: AtomicBool = AtomicBool::new(false);

/// The terminal in raw mode, on its other screen. Dropped, or at a panic of any thread, it is as before.
#[derive(Debug)]
pub struct Window;

impl Window {
    /// Takes the terminal.
    ///
    /// # Errors
    /// It has no such modes, or has gone.
    pub fn open() -> std::io::Result<Window> {
        terminal::enable_raw_mode()?;
        IS_OPEN.store(true, Ordering::Relaxed);
        let window = Window;
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
        execute!(std::io::stdout(), EnterAlternateScreen, Hide, DisableLineWrap)?;
        Ok(window)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    if IS_OPEN.swap(false, Ordering::Relaxed) {
        // If the terminal has gone there is nobody left to tell.
        let _ = execute!(std::io::stdout(), EnableLineWrap, Show, LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}
