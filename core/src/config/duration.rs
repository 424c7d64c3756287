//! Spans of time as systemd writes them (systemd.time(7)): `10min`, `1h 30s`, `500ms`, `1.5h`, `90`.

use std::time::Duration;

const SECOND: u64 = 1_000_000;
const DAY: u64 = 24 * 60 * 60 * SECOND;

/// The units that systemd 252 to 262 know, in microseconds.
const UNITS: &[(&str, u64)] = &[
    ("us", 1),
    ("usec", 1),
    ("µs", 1), // U+00B5, the micro sign
    ("μs", 1), // U+03BC, the Greek letter
    ("ms", 1_000),
    ("msec", 1_000),
    ("s", SECOND),
    ("sec", SECOND),
    ("second", SECOND),
    ("seconds", SECOND),
    ("m", 60 * SECOND),
    ("min", 60 * SECOND),
    ("minute", 60 * SECOND),
    ("minutes", 60 * SECOND),
    ("h", 3_600 * SECOND),
    ("hr", 3_600 * SECOND),
    ("hour", 3_600 * SECOND),
    ("hours", 3_600 * SECOND),
    ("d", DAY),
    ("day", DAY),
    ("days", DAY),
    ("w", 7 * DAY),
    ("week", 7 * DAY),
    ("weeks", 7 * DAY),
    ("M", 2_629_800 * SECOND), // 30.44 days
    ("month", 2_629_800 * SECOND),
    ("months", 2_629_800 * SECOND),
    ("y", 31_557_600 * SECOND), // 365.25 days
    ("year", 31_557_600 * SECOND),
    ("years", 31_557_600 * SECOND),
];

/// Reads a span of time. A number without a unit is seconds.
///
/// # Errors
/// What it must be, for a message; `infinity` is refused, as every time is a limit.
pub fn parse(text: &str) -> Result<Duration, String> {
    if text.trim() == "infinity" {
        return Err("a finite span of time; infinity is not allowed".into());
    }
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("a span of time such as \"10min\"".into());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = split(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, after) = split(after.trim_start(), char::is_alphabetic);
        let scale = match unit {
            "" => SECOND,
            unit => UNITS
                .iter()
                .find(|(name, _)| *name == unit)
                .map(|(_, scale)| *scale)
                .ok_or_else(|| format!("a span of time such as \"1h 30min\"; '{unit}' is not a unit"))?,
        };
        let part = scaled(number, scale)
            .ok_or_else(|| format!("a span of time such as \"1h 30min\", not '{text}'"))?;
        total = total.checked_add(part).ok_or("a shorter span of time")?;
        rest = after.trim_start();
    }
    Ok(Duration::from_micros(total))
}

/// Writes a span of time as systemd does, in seconds or, below one, in milliseconds: `9min 30s`.
#[must_use]
pub fn format(span: Duration) -> String {
    if span < Duration::from_secs(1) {
        return format!("{}ms", span.as_millis());
    }
    let seconds = span.as_secs();
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let words: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, u)| format!("{n}{u}")).collect();
    words.join(" ")
}

fn split(text: &str, takes: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !takes(c)).unwrap_or(text.len()))
}

/// `number` (digits, one point at most) times `scale`, in whole numbers: floats round.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits = |s: &str| if s.is_empty() { Some(0) } else { s.parse::<u64>().ok() };
    // Nine decimals of a year are 30 ms; anything finer is dropped.
    let fraction = fraction.get(..9).unwrap_or(fraction);
    let unit = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = u128::from(digits(fraction)?).checked_mul(u128::from(scale))? / unit;
    digits(whole)?.checked_mul(scale)?.checked_add(u64::try_from(part).ok()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn spans_are_read_as_systemd_reads_them() {
        let cases = [
            ("10min", 600_000),
            ("1h 30s", 3_630_000),
            ("1h30s", 3_630_000),
            ("500ms", 500),
            ("90", 90_000),
            ("1.5h", 5_400_000),
            ("2 min 5 s", 125_000),
            (" 3 days ", 259_200_000),
            (".5s", 500),
            ("0", 0),
        ];
        for (text, ms) in cases {
            assert_eq!(parse(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
    }

    #[test]
    fn an_invalid_span_is_refused() {
        for text in ["", "  ", "min", "10 parsecs", "-5s", "1.2.3s", "infinity", "10,5s", "99999999999y", "."]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_span_is_written_as_it_would_be_read() {
        for text in ["9min 30s", "1h 5s", "250ms", "20min", "0ms"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
    }
}
