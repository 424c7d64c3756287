//! What the answer to a request for a file, or for the rest of it, is good for. Pure.

use std::io::{self, ErrorKind};
use std::time::Duration;

use ureq::http::{HeaderMap, StatusCode, header};

use crate::image::content_range;
use crate::web_page::is_page_type;

/// What was requested.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The next byte that is needed.
    pub position: u64,
    /// Whether this download has bytes of an earlier answer.
    pub is_continued: bool,
    /// The length of the file, if known.
    pub len: Option<u64>,
    /// The version of the file that the bytes before `position` are of.
    pub version: Option<String>,
    /// Whether a digest of the whole file decides in the end. Then the bytes may come from several servers, each with
    /// validators of its own.
    pub has_digest: bool,
    /// The largest file that is accepted.
    pub max_size: u64,
}

/// The head of an answer.
#[derive(Debug, Clone)]
pub struct Head<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// The length of its body, if declared.
    pub body_len: Option<u64>,
}

/// The part of the file that an answer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its first byte.
    pub start: u64,
    /// The length of the whole file, if known.
    pub len: Option<u64>,
    /// The validator of the version: its ETag or date.
    pub version: Option<String>,
    /// Whether the bytes before it are of another version, by the validators.
    pub is_other: bool,
}

/// The part of the file that the answer holds, if it continues what was downloaded.
///
/// # Errors
/// Why it does not. Errors that [`is_final`] accepts end the download.
pub fn judge(request: &Request, head: &Head<'_>) -> io::Result<Part> {
    let (status, headers) = (head.status, head.headers);
    if status == StatusCode::RANGE_NOT_SATISFIABLE && request.position > 0 {
        return Err(shorter());
    }
    let (start, len) = match status {
        StatusCode::PARTIAL_CONTENT => headers
            .get(header::CONTENT_RANGE)
            .and_then(|value| content_range::parse(value.to_str().ok()?))
            .ok_or_else(|| io::Error::other("the server sent an invalid Content-Range"))?,
        StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION => (0, head.body_len),
        _ => return Err(refusal(status)),
    };
    let version = version(headers);
    let is_other = request.is_continued && version != request.version;
    let is_as_long = request.len.is_none_or(|known| len.is_none_or(|len| len == known));
    if request.is_continued && !request.has_digest && (is_other || !is_as_long) {
        return Err(io::Error::new(
            ErrorKind::InvalidData,
            "the image on the server changed during the download",
        ));
    }
    if len.is_some_and(|len| len > request.max_size) {
        return Err(too_large(request.max_size));
    }
    if len.is_some_and(|len| len < request.position) && request.len.is_none() {
        return Err(shorter());
    }
    if let (Some(len), Some(known), false) = (len, request.len, is_as_long) {
        let text = format!("the server has another file of this name, with {len} bytes instead of {known}");
        // Another mirror may have the right one.
        let kind = if request.is_continued { ErrorKind::ConnectionRefused } else { ErrorKind::InvalidInput };
        return Err(io::Error::new(kind, text));
    }
    if start > request.position {
        return Err(io::Error::other("the server sent a different byte range than requested"));
    }
    Ok(Part { start, len: len.or(request.len), version, is_other })
}

/// Whether the answer is a success that is called a web page. Some servers call every file so, so that this alone is no
/// reason to refuse it.
#[must_use]
pub fn is_called_page(head: &Head<'_>) -> bool {
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    head.status == StatusCode::OK && kind.is_some_and(is_page_type)
}

/// How long the server asks to wait, if it does so in seconds (RFC 9110, 10.2.3).
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

/// Whether a retry is pointless.
#[must_use]
pub fn is_final(error: &io::Error) -> bool {
    use ErrorKind::{FileTooLarge, InvalidData, InvalidInput, NotFound, Other};
    matches!(error.kind(), FileTooLarge | InvalidData | InvalidInput | NotFound | Other)
}

/// The error for a file that is larger than it may be.
#[must_use]
pub fn too_large(max: u64) -> io::Error {
    let text = format!("is larger than {max} bytes, its declared size or max_size of [download]");
    io::Error::new(ErrorKind::FileTooLarge, text)
}

fn shorter() -> io::Error {
    let text = "the requested range is beyond the end of the file on the server (416)";
    io::Error::new(ErrorKind::InvalidInput, text)
}

/// The error for a status. 408, 429 and 5xx are temporary (RFC 9110, 15.5.9 and 15.6; RFC 6585), the others are not.
fn refusal(status: StatusCode) -> io::Error {
    let code = status.as_u16();
    match code {
        404 | 410 => io::Error::new(ErrorKind::NotFound, format!("the server has no such image ({code})")),
        408 | 429 | 500..=599 => {
            io::Error::new(ErrorKind::ConnectionRefused, format!("the server answered {code}"))
        }
        _ => io::Error::other(format!("the server answered {code}")),
    }
}

/// A strong ETag, else the date of the last change (RFC 9110, 13.1.5: what If-Range may hold).
fn version(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    text(header::ETAG).filter(|tag| !tag.starts_with("W/")).or_else(|| text(header::LAST_MODIFIED))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ureq::http::HeaderValue;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn judged(
        request: &Request,
        code: u16,
        range: Option<&str>,
        len: Option<u64>,
        tag: &str,
    ) -> Result<Part, String> {
        let mut pairs = vec![(header::ETAG, tag)];
        pairs.extend(range.map(|range| (header::CONTENT_RANGE, range)));
        let (headers, status) = (headers(&pairs), StatusCode::from_u16(code).unwrap());
        judge(request, &Head { status, headers: &headers, body_len: len }).map_err(|e| e.to_string())
    }

    /// Half of a file of 100 bytes.
    fn half(has_digest: bool) -> Request {
        Request {
            position: 50,
            is_continued: true,
            len: Some(100),
            version: Some("\"a\"".into()),
            has_digest,
            max_size: 1000,
        }
    }

    #[test]
    fn the_digest_decides_over_other_validators_and_a_missing_length() {
        for (range, tag) in
            [("bytes 50-99/100", "\"b\""), ("bytes 50-99/*", "\"a\""), ("bytes 50-99/*", "W/\"a\"")]
        {
            let part = judged(&half(true), 206, Some(range), Some(50), tag).unwrap();
            assert_eq!((part.start, part.len, part.is_other), (50, Some(100), tag != "\"a\""));
        }
        // Without a digest only the validators show that it is the same file.
        assert!(judged(&half(false), 206, Some("bytes 50-99/*"), Some(50), "\"a\"").is_ok());
        let error = judged(&half(false), 206, Some("bytes 50-99/100"), Some(50), "\"b\"").unwrap_err();
        assert!(error.contains("changed during"), "{error}");
    }

    #[test]
    fn an_answer_of_another_length_is_not_the_rest_of_the_file() {
        for (code, range, len) in [
            (206, Some("bytes 50-79/80"), Some(30)),
            (206, Some("bytes 50-119/120"), Some(70)),
            (200, None, Some(40)),
            (200, None, Some(101)),
        ] {
            let error = judged(&half(true), code, range, len, "\"a\"").unwrap_err();
            assert!(error.contains("instead of 100"), "{error}");
        }
        let unknown = Request { len: None, is_continued: false, ..half(true) };
        assert!(judged(&unknown, 200, None, Some(40), "\"a\"").unwrap_err().contains("416"));
        assert_eq!(judged(&unknown, 200, None, Some(101), "\"a\"").unwrap().len, Some(101));
        assert_eq!(judged(&half(true), 200, None, None, "\"a\"").unwrap().start, 0);
    }

    #[test]
    fn a_weak_etag_does_not_identify_the_bytes_of_a_version() {
        let both = [(header::ETAG, "W/\"1\""), (header::LAST_MODIFIED, "Mon")];
        assert_eq!(version(&headers(&both)).as_deref(), Some("Mon"));
        assert_eq!(version(&headers(&[(header::ETAG, "\"1\"")])).as_deref(), Some("\"1\""));
    }

    #[test]
    fn only_temporary_errors_are_retried() {
        let codes = [
            (404, true),
            (403, true),
            (416, true),
            (204, true),
            (408, false),
            (429, false),
            (500, false),
            (503, false),
        ];
        for (code, end) in codes {
            assert_eq!(is_final(&refusal(StatusCode::from_u16(code).unwrap())), end, "{code}");
        }
    }

    #[test]
    fn a_server_may_ask_for_a_pause_in_seconds() {
        assert_eq!(retry_after(&headers(&[(header::RETRY_AFTER, "120")])), Some(Duration::from_secs(120)));
        assert_eq!(retry_after(&headers(&[(header::RETRY_AFTER, "Mon, 01 Jan 2029 00:00:00 GMT")])), None);
    }
}
