//! Downloads that resume after an interruption.

use std::io::{self, Read};
use std::thread::sleep;
use std::time::{Duration, Instant};

use log::warn;
use ureq::BodyReader;
use ureq::http::{HeaderMap, StatusCode, header};

use crate::config::Download;
use crate::http::{Client, HttpError, Redirects, Timeout};
use crate::image::content_range;
use crate::image::source::Source;
use crate::url::shown;
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
    match resume(place, limits, 0)? {
        Resumed::Rest(source) => Ok(Some(source)),
        Resumed::Nothing | Resumed::Shorter => Ok(None),
        Resumed::TooLarge(error) => Err(error),
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

/// What a server has to offer beyond the bytes that were downloaded before.
pub enum Resumed {
    /// The rest. Its `len` is that of the whole.
    Rest(Source),
    /// There is no such file.
    Nothing,
    /// The file is shorter than what was downloaded before.
    Shorter,
    /// The file is larger than it may be.
    TooLarge(Error),
}

/// Opens a file for reading from byte `from` on. Only the digest of the whole file shows whether the bytes before
/// `from` are of the same file.
///
/// # Errors
/// [`Error::Image`] if the server cannot be reached or refuses.
pub fn resume(place: &Place<'_>, limits: &Download, from: u64) -> Result<Resumed> {
    let mut transfer = Transfer::new(place, limits, from)?;
    let name = shown(place.url);
    match transfer.connect() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Resumed::Nothing),
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => return Ok(Resumed::Shorter),
        Err(e) if e.kind() == io::ErrorKind::FileTooLarge => {
            return Ok(Resumed::TooLarge(Error::Image(format!("{name}: {e}"))));
        }
        connected => connected.or_image(|| format!("{name}: cannot download"))?,
    }
    Ok(Resumed::Rest(Source { name, len: transfer.len, repeatable: false, reader: Box::new(transfer) }))
}

/// A download that reconnects.
struct Transfer {
    client: Client,
    url: String,
    authorization: Option<String>,
    limits: Download,
    body: Option<BodyReader<'static>>,
    /// The next byte to read; bytes before `from` count.
    position: u64,
    /// The byte at which this download began.
    from: u64,
    /// Bytes of the whole image.
    len: Option<u64>,
    /// The validator of this version of the file: its ETag or date.
    version: Option<String>,
    started: Instant,
    /// When the last byte arrived, or was requested.
    alive: Instant,
    /// How much longer the bytes so far have taken than the minimum rate allows.
    behind: Duration,
}

impl Transfer {
    fn new(place: &Place<'_>, limits: &Download, from: u64) -> Result<Self> {
        let now = Instant::now();
        Ok(Self {
            client: client(limits)?,
            url: place.url.to_owned(),
            authorization: place.authorization.map(str::to_owned),
            limits: limits.clone(),
            body: None,
            position: from,
            from,
            len: None,
            version: None,
            started: now,
            alive: now,
            behind: Duration::ZERO,
        })
    }

    /// Requests the image from the current position on. Errors of the kind
    /// [`io::ErrorKind::Other`] and [`io::ErrorKind::InvalidData`] are final.
    fn connect(&mut self) -> io::Result<()> {
        let range = format!("bytes={}-", self.position);
        let mut headers = vec![];
        headers.extend(self.authorization.as_deref().map(|value| (header::AUTHORIZATION, value)));
        if self.position > 0 {
            headers.push((header::RANGE, range.as_str()));
            headers.extend(self.version.as_deref().map(|version| (header::IF_RANGE, version)));
        }
        let response = self.client.get(&self.url, &headers).map_err(into_io)?;
        let (status, headers) = (response.status(), response.headers());
        if status == StatusCode::RANGE_NOT_SATISFIABLE && self.position > 0 {
            return Err(shorter());
        }
        if !status.is_success() {
            return Err(refusal(status));
        }
        let version = version(headers);
        let rest = response.body().content_length();
        let (start, len) = match status {
            StatusCode::PARTIAL_CONTENT => headers
                .get(header::CONTENT_RANGE)
                .and_then(|value| content_range::parse(value.to_str().ok()?))
                .ok_or_else(|| io::Error::other("the server sent an invalid Content-Range"))?,
            _ => (0, rest),
        };
        if self.position > self.from && (version != self.version || len != self.len) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the image on the server changed during the download",
            ));
        }
        if len.is_some_and(|len| len < self.from) {
            return Err(shorter());
        }
        if len.is_some_and(|len| len > self.limits.max_size) {
            return Err(too_large(self.limits.max_size));
        }
        (self.version, self.len) = (version, len);
        let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
        // A server without support for ranges sends the whole file again.
        let skip = self
            .position
            .checked_sub(start)
            .ok_or_else(|| io::Error::other("the server sent a different byte range than requested"))?;
        self.skip(&mut body, skip)?;
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
        while !is_final(&error) {
            let left = self.limits.give_up_after.saturating_sub(self.alive.elapsed());
            if left.is_zero() {
                break;
            }
            warn!("{}: {error}; retrying from byte {}", shown(&self.url), self.position);
            sleep(pause.min(left));
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
        let count = body.read(to).map_err(broken)?;
        match self.len {
            Some(len) if count == 0 && self.position < len => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("the server closed the connection {} bytes before the end", len - self.position),
            )),
            _ => Ok(count),
        }
    }

    /// Waits as the rate limit requires.
    fn slow_down(&self) {
        if let Some(rate) = self.limits.rate_limit {
            let count = self.position - self.from;
            let due = Duration::from_secs_f64(count as f64 / rate.max(1) as f64);
            sleep(due.saturating_sub(self.started.elapsed()));
        }
    }
}

impl Read for Transfer {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if to.is_empty() {
            return Ok(0);
        }
        // The time since the last read was the caller's, not the server's.
        self.alive = Instant::now();
        loop {
            match self.read_once(to) {
                Ok(0) => return Ok(0),
                Ok(count) => {
                    self.position += count as u64;
                    if self.position > self.limits.max_size {
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

/// Whether a retry is pointless.
fn is_final(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, InvalidData, InvalidInput, NotFound, Other};
    matches!(error.kind(), FileTooLarge | InvalidData | InvalidInput | NotFound | Other)
}

/// An error in the middle of a response; a retry may succeed.
fn broken(error: io::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, error)
}

/// Network errors are temporary; errors of the request are not.
fn into_io(error: HttpError) -> io::Error {
    use ureq::Error::{ConnectionFailed, HostNotFound, Io, Timeout};
    match error {
        HttpError::Failed(Io(e)) => io::Error::new(io::ErrorKind::ConnectionAborted, e),
        HttpError::Failed(Timeout(_) | HostNotFound | ConnectionFailed) => {
            io::Error::new(io::ErrorKind::ConnectionAborted, error.to_string())
        }
        e => io::Error::other(e.to_string()),
    }
}

fn too_large(max: u64) -> io::Error {
    let text = format!("is larger than {max} bytes, its declared size or max_size of [download]");
    io::Error::new(io::ErrorKind::FileTooLarge, text)
}

fn shorter() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "the requested range is beyond the end of the file on the server (416)",
    )
}

/// The error for a status. 408, 429 and 5xx are temporary (RFC 9110, 15.5.9 and 15.6; RFC 6585), the others are not.
fn refusal(status: StatusCode) -> io::Error {
    let code = status.as_u16();
    match code {
        404 | 410 => {
            io::Error::new(io::ErrorKind::NotFound, format!("the server has no such image ({code})"))
        }
        408 | 429 | 500..=599 => {
            io::Error::new(io::ErrorKind::ConnectionRefused, format!("the server answered {code}"))
        }
        _ => io::Error::other(format!("the server answered {code}")),
    }
}

/// A strong ETag, else the date of the last change (RFC 9110, 13.1.5: what If-Range may hold).
fn version(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    text(header::ETAG).filter(|tag| !tag.starts_with("W/")).or_else(|| text(header::LAST_MODIFIED))
}

fn client(limits: &Download) -> Result<Client> {
    let timeout = Timeout::Idle { connect: CONNECT_TIMEOUT, idle: READ_TIMEOUT };
    Client::new(&Root::live(), limits.ca.as_deref(), timeout, Redirects::AnyHost).map_err(Error::Usage)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ureq::http::HeaderValue;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn a_weak_etag_does_not_identify_the_bytes_of_a_version() {
        let both = [(header::ETAG, "W/\"1\""), (header::LAST_MODIFIED, "Mon")];
        assert_eq!(version(&headers(&both)).as_deref(), Some("Mon"));
        assert_eq!(version(&headers(&[(header::ETAG, "\"1\"")])).as_deref(), Some("\"1\""));
    }

    #[test]
    fn only_temporary_errors_are_retried() {
        let codes =
            [(404, true), (403, true), (416, true), (408, false), (429, false), (500, false), (503, false)];
        for (code, end) in codes {
            assert_eq!(is_final(&refusal(StatusCode::from_u16(code).unwrap())), end, "{code}");
        }
    }
}
