//! Downloads that resume after an interruption.

use std::io::{self, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use log::warn;
use ureq::http::{StatusCode, header};

use crate::config::Download;
use crate::http::{Client, HttpError, Redirects, Timeout, plain_io};
use crate::image::answer::{self, Head, Request, is_final, too_large};
use crate::image::source::Source;
use crate::url::shown;
use crate::web_page::{self, is_page};
use abide_core::config::duration;
use abide_core::error::{Error, OrError, Result};
use abide_core::root::Root;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a server may be silent during a download before the connection is given up.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a download may be too slow at least: the first bytes of a connection take their time.
const GRACE: Duration = Duration::from_secs(5);

/// The retry delay; doubled each time, up to the upper bound.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Opens a file for reading from its beginning; `None` if there is no such file.
///
/// # Errors
/// As [`resume`].
pub fn find(place: &Place<'_>, limits: &Download) -> Result<Option<Source>> {
    find_known(place, limits, Known::default())
}

/// As [`find`], of a file of which something is known.
///
/// # Errors
/// As [`resume`].
pub fn find_known(place: &Place<'_>, limits: &Download, known: Known) -> Result<Option<Source>> {
    match resume_known(place, limits, known)? {
        Resumed::Rest(source) => Ok(Some(source)),
        Resumed::Nothing | Resumed::Shorter => Ok(None),
        Resumed::TooLarge(error) => Err(error),
    }
}

/// The length of a file, if the server says it; nothing of the file is read.
#[must_use]
pub fn len(place: &Place<'_>, limits: &Download) -> Option<u64> {
    let first = Known { until: Some(1), ..Known::by_digest() };
    match resume_known(place, limits, first).ok()? {
        Resumed::Rest(source) => source.len,
        Resumed::Nothing | Resumed::Shorter | Resumed::TooLarge(_) => None,
    }
}

/// The URL of a file, and the credentials for its server.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// Its URL.
    pub url: &'a str,
    /// The value of the header `Authorization`. It is not sent on to where the server redirects.
    pub authorization: Option<&'a str>,
}

/// What is known of a file before it is requested.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The bytes that were downloaded before.
    pub from: u64,
    /// Its length.
    pub len: Option<u64>,
    /// Whether a digest of the whole file is verified in the end. The bytes may then come from several servers.
    pub has_digest: bool,
    /// Set if parts of it are of different versions, by the validators of the servers.
    pub mixed: Arc<AtomicBool>,
    /// The byte behind the last one that is wanted; none: all.
    pub until: Option<u64>,
    /// Set if the server has no ranges: it sends the whole file, and what is behind `until` can be read, too.
    pub is_whole: Arc<AtomicBool>,
    /// Whether the whole file is of no use: then nothing of it is read.
    pub part_only: bool,
}

impl Known {
    /// Of a file whose digest or signature is verified in the end.
    #[must_use]
    pub fn by_digest() -> Self {
        Self { has_digest: true, ..Self::default() }
    }
}

/// What a server has to offer beyond the bytes that were downloaded before.
pub enum Resumed {
    /// The rest. Its `len` is that of the whole.
    Rest(Source),
    /// There is no such file.
    Nothing,
    /// The file is shorter than what was downloaded before, or has another length than is known.
    Shorter,
    /// The file is larger than it may be.
    TooLarge(Error),
}

/// Opens a file for reading from byte `from` on. Only the digest of the whole file shows whether the bytes before
/// `from` are of the same file.
///
/// # Errors
/// [`Error::Image`] if the server cannot be reached or refuses; [`Error::Usage`] if a proxy or certificate of the
/// settings cannot be used.
pub fn resume(place: &Place<'_>, limits: &Download, from: u64) -> Result<Resumed> {
    resume_known(place, limits, Known { from, ..Known::default() })
}

/// As [`resume`], of a file of which more is known.
///
/// # Errors
/// As [`resume`].
pub fn resume_known(place: &Place<'_>, limits: &Download, known: Known) -> Result<Resumed> {
    let mut transfer = Transfer::new(place, limits, known)?;
    let name = shown(place.url);
    match transfer.connect() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Resumed::Nothing),
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => return Ok(Resumed::Shorter),
        Err(e) if e.kind() == io::ErrorKind::FileTooLarge => {
            return Ok(Resumed::TooLarge(Error::Image(format!("{name}: {e}"))));
        }
        connected => connected.or_image(|| format!("{name}: cannot download"))?,
    }
    let len = transfer.request.len;
    Ok(Resumed::Rest(Source { name, len, repeatable: false, reader: Box::new(transfer) }))
}

/// A download that reconnects.
struct Transfer {
    client: Client,
    url: String,
    authorization: Option<String>,
    limits: Download,
    body: Option<Box<dyn Read + Send>>,
    /// What is requested next.
    request: Request,
    /// The byte at which this download began.
    from: u64,
    mixed: Arc<AtomicBool>,
    until: Option<u64>,
    is_whole: Arc<AtomicBool>,
    part_only: bool,
    /// How long the last answer asked to wait.
    retry_after: Option<Duration>,
    started: Instant,
    /// When the last byte arrived, or was requested.
    alive: Instant,
    /// How much longer the bytes so far have taken than the minimum rate allows.
    behind: Duration,
}

impl Transfer {
    fn new(place: &Place<'_>, limits: &Download, known: Known) -> Result<Self> {
        let now = Instant::now();
        let client = client(limits)?;
        client.check_proxy(place.url).map_err(Error::Usage)?;
        let Known { from, len, has_digest, mixed, until, is_whole, part_only } = known;
        let max_size = limits.max_size;
        Ok(Self {
            client,
            url: place.url.to_owned(),
            authorization: place.authorization.map(str::to_owned),
            limits: limits.clone(),
            body: None,
            request: Request { position: from, len, has_digest, max_size, ..Request::default() },
            from,
            mixed,
            until,
            is_whole,
            part_only,
            retry_after: None,
            started: now,
            alive: now,
            behind: Duration::ZERO,
        })
    }

    /// Requests the image from the current position on.
    fn connect(&mut self) -> io::Result<()> {
        let last = self.until.map_or_else(String::new, |until| until.saturating_sub(1).to_string());
        let range = format!("bytes={}-{last}", self.request.position);
        let mut headers = vec![];
        headers.extend(self.authorization.as_deref().map(|value| (header::AUTHORIZATION, value)));
        if self.request.position > 0 || self.until.is_some() {
            headers.push((header::RANGE, range.as_str()));
            // A mirror with another validator would send all of it again.
            let version = self.request.version.as_deref().filter(|_| !self.request.has_digest);
            headers.extend(version.map(|version| (header::IF_RANGE, version)));
        }
        let response = self.client.get(&self.url, &headers).map_err(into_io)?;
        let headers = response.headers();
        self.retry_after = answer::retry_after(headers);
        let head = Head { status: response.status(), headers, body_len: response.body().content_length() };
        let is_called_page = answer::is_called_page(&head);
        let is_part = head.status == StatusCode::PARTIAL_CONTENT;
        let part =
            answer::judge(&self.request, &head).map_err(|e| if is_called_page { page() } else { e })?;
        let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
        let first = if part.start == 0 { first_bytes(&mut body)? } else { vec![] };
        if is_page(&first) {
            return Err(page());
        }
        if part.start == 0 && self.until.take_if(|_| !is_part).is_some() {
            self.is_whole.store(true, Ordering::Relaxed);
            if self.part_only {
                return Err(io::Error::other("the server sends no part of the file alone"));
            }
        }
        let mut body: Box<dyn Read + Send> = Box::new(Cursor::new(first).chain(body));
        // A server without support for ranges sends the whole file again.
        self.skip(&mut body, self.request.position.saturating_sub(part.start))?;
        if part.is_other {
            warn!("{}: continuing with another version of the file; its digest decides", shown(&self.url));
            self.mixed.store(true, Ordering::Relaxed);
        }
        (self.request.version, self.request.len) = (part.version, part.len);
        self.body = Some(body);
        Ok(())
    }

    /// Reads what is there already, with the same limits as what is not.
    fn skip(&mut self, body: &mut impl Read, mut left: u64) -> io::Result<()> {
        let mut scratch = vec![0; 64 << 10];
        while left > 0 {
            let asked = Instant::now();
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(scratch.len());
            let count = body.read(scratch.get_mut(..most).unwrap_or_default()).map_err(broken)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left = left.saturating_sub(count as u64);
            self.keep_up(count, asked.elapsed())?;
        }
        Ok(())
    }

    /// Ends a download that is too slow or takes too long: `count` bytes have taken this long.
    fn keep_up(&mut self, count: usize, took: Duration) -> io::Result<()> {
        let Download { give_up_after, min_rate, max_time, .. } = self.limits;
        if self.started.elapsed() > max_time {
            let limit = duration::format(max_time);
            return Err(io::Error::other(format!("the download takes longer than max_time ({limit})")));
        }
        if min_rate == 0 {
            return Ok(());
        }
        let allowed = Duration::from_secs_f64(count as f64 / min_rate as f64);
        self.behind = (self.behind + took).saturating_sub(allowed);
        if self.behind > give_up_after.max(GRACE) {
            return Err(io::Error::other(format!(
                "the server is slower than min_rate, {min_rate} bytes per second"
            )));
        }
        Ok(())
    }

    /// Reconnects after `error`, until the configured time has passed.
    fn reconnect(&mut self, mut error: io::Error) -> io::Result<()> {
        let mut pause = FIRST_PAUSE;
        self.body = None;
        self.request.is_continued = self.request.position > self.from;
        while !is_final(&error) {
            let left = self.limits.give_up_after.saturating_sub(self.alive.elapsed());
            let asked = self.retry_after.take();
            if left.is_zero() || asked.is_some_and(|asked| asked > left) {
                break;
            }
            warn!("{}: {error}; retrying from byte {}", shown(&self.url), self.request.position);
            sleep(pause.max(asked.unwrap_or_default()).min(left));
            pause = (pause * 2).min(MAX_PAUSE);
            match self.connect() {
                Ok(()) => return Ok(()),
                Err(next) => error = next,
            }
        }
        Err(error)
    }

    fn read_once(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let Some(body) = &mut self.body else { return Err(io::ErrorKind::NotConnected.into()) };
        let wanted = self.until.map(|until| until.saturating_sub(self.request.position));
        let most = wanted.and_then(|wanted| usize::try_from(wanted).ok()).unwrap_or(usize::MAX).min(to.len());
        let count = body.read(to.get_mut(..most).unwrap_or_default()).map_err(broken)?;
        let Request { len, position, .. } = self.request;
        match self.until.or(len) {
            Some(len) if count == 0 && position < len => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("the server closed the connection {} bytes before the end", len - position),
            )),
            _ => Ok(count),
        }
    }

    /// Waits as the rate limit requires.
    fn slow_down(&self) {
        if let Some(rate) = self.limits.rate_limit {
            let count = self.request.position - self.from;
            let due = Duration::from_secs_f64(count as f64 / rate.max(1) as f64);
            sleep(due.saturating_sub(self.started.elapsed()));
        }
    }
}

impl Read for Transfer {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if to.is_empty() || self.until == Some(self.request.position) {
            return Ok(0);
        }
        // The time since the last read was the caller's, not the server's.
        self.alive = Instant::now();
        loop {
            match self.read_once(to) {
                Ok(0) => return Ok(0),
                Ok(count) => {
                    self.request.position += count as u64;
                    if self.request.position > self.limits.max_size {
                        return Err(too_large(self.limits.max_size));
                    }
                    self.keep_up(count, self.alive.elapsed())?;
                    self.slow_down();
                    return Ok(count);
                }
                Err(e) => self.reconnect(e)?,
            }
        }
    }
}

/// The error for a web page. The network may recover.
fn page() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionRefused, web_page::told("the server"))
}

/// The first bytes of a body: as many as show whether it is a web page.
fn first_bytes(body: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut first = vec![];
    let mut part = [0; web_page::HEAD];
    while first.len() < web_page::HEAD && first.trim_ascii_start().len() < web_page::LEAST {
        let count = body.read(&mut part).map_err(broken)?;
        if count == 0 {
            break;
        }
        first.extend_from_slice(part.get(..count).unwrap_or_default());
    }
    Ok(first)
}

/// An error in the middle of a response; a retry may succeed.
fn broken(error: io::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, plain_io(&error))
}

/// Network errors are temporary; errors of the request are not.
fn into_io(error: HttpError) -> io::Error {
    let kind = if error.is_temporary() { io::ErrorKind::ConnectionAborted } else { io::ErrorKind::Other };
    io::Error::new(kind, error.to_string())
}

fn client(limits: &Download) -> Result<Client> {
    let timeout = Timeout::Idle { connect: CONNECT_TIMEOUT, idle: READ_TIMEOUT };
    Client::new(&Root::live(), limits.ca.as_deref(), timeout, Redirects::AnyHost).map_err(Error::Usage)
}
