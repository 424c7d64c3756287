//! Sizes as systemd writes them: bytes, with `K`, `M`, `G`, `T`, `P`, `E` to the base of 1024.

/// Reads a size; decimals are allowed (`1.5G`), a trailing `B` is bytes.
///
/// # Errors
/// What it must be, for a message.
pub fn parse(text: &str) -> Result<u64, String> {
    let bad = || format!("a size such as \"512M\" or \"1.5G\", not '{text}'");
    let trimmed = text.trim();
    let (number, shift) = match trimmed.char_indices().next_back() {
        Some((at, suffix)) if suffix.is_ascii_alphabetic() => {
            let shift = match suffix {
                'B' => 0,
                'K' => 10,
                'M' => 20,
                'G' => 30,
                'T' => 40,
                'P' => 50,
                'E' => 60,
                _ => return Err(bad()),
            };
            (trimmed.split_at(at).0.trim_end(), shift)
        }
        _ => (trimmed, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let fraction = fraction.get(..9).unwrap_or(fraction);
    let unit = u32::try_from(fraction.len()).ok().and_then(|n| 10_u128.checked_pow(n)).ok_or_else(bad)?;
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit()).then(|| s.parse::<u64>().ok()).flatten();
    let part = (u128::from(digits(fraction).ok_or_else(bad)?) << shift) / unit;
    let total = (u128::from(digits(whole).ok_or_else(bad)?) << shift) + part;
    u64::try_from(total).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes_are_read_to_the_base_of_1024() {
        for (text, bytes) in
            [("0", 0), ("512", 512), ("512B", 512), ("4K", 4096), ("1.5G", 3 << 29), ("2 M", 2 << 20)]
        {
            assert_eq!(parse(text).unwrap(), bytes, "{text}");
        }
    }

    #[test]
    fn an_invalid_size_is_refused() {
        for text in ["", "M", "1k", "-1", "1,5G", "16E", "+5", "1.x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
