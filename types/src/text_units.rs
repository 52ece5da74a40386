//! Sizes and durations as people write them: `64MiB`, `7d`, `500ms`.

use std::time::Duration;

/// Why a text is no size or duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {wanted}, write for example {example}")]
pub struct InvalidQuantity {
    /// The text as given.
    pub text: String,
    /// `size` or `duration`.
    pub wanted: &'static str,
    /// Texts that would do.
    pub example: &'static str,
}

/// Reads a size in bytes: `1024`, `64KiB`, `10MB`, `1GiB` (also `k`, `m`, `g`, as powers of 1024).
///
/// # Errors
/// When the text is no number with a known unit, or too large for a `u64`.
pub fn parse_bytes(text: &str) -> Result<u64, InvalidQuantity> {
    let factor = |unit: &str| match unit {
        "" | "b" => Some(1.0),
        "k" | "ki" | "kib" => Some(1024.0),
        "kb" => Some(1e3),
        "m" | "mi" | "mib" => Some(1024.0 * 1024.0),
        "mb" => Some(1e6),
        "g" | "gi" | "gib" => Some(1024.0 * 1024.0 * 1024.0),
        "gb" => Some(1e9),
        "t" | "ti" | "tib" => Some(1024.0 * 1024.0 * 1024.0 * 1024.0),
        "tb" => Some(1e12),
        _ => None,
    };
    if let Ok(bytes) = text.trim().parse() {
        return Ok(bytes);
    }
    scaled(text, factor)
        .filter(|bytes| *bytes < u64::MAX as f64)
        .map(|bytes| bytes as u64)
        .ok_or_else(|| InvalidQuantity {
            text: text.to_owned(),
            wanted: "size",
            example: "`1024`, `64KiB` or `1GiB`",
        })
}

/// Reads a duration: `250ms`, `10s`, `5m`, `1h`, `7d`. A bare number means milliseconds, as in
/// Kafka's `*.ms` settings.
///
/// # Errors
/// When the text is no number with a known unit, or longer than a `u64` of milliseconds.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidQuantity> {
    let factor = |unit: &str| match unit {
        "us" => Some(1e-3),
        "" | "ms" => Some(1.0),
        "s" => Some(1e3),
        "m" | "min" => Some(60e3),
        "h" => Some(3600e3),
        "d" => Some(86_400e3),
        "w" => Some(7.0 * 86_400e3),
        _ => None,
    };
    if let Ok(ms) = text.trim().parse() {
        return Ok(Duration::from_millis(ms));
    }
    scaled(text, factor)
        .map(|ms| Duration::try_from_secs_f64(ms / 1e3))
        .and_then(Result::ok)
        .ok_or_else(|| InvalidQuantity {
            text: text.to_owned(),
            wanted: "duration",
            example: "`500ms`, `10s`, `1h` or `7d`",
        })
}

/// Writes a duration as [`parse_duration`] reads it, in the largest unit that leaves a whole number: `90s`, `1h`.
#[must_use]
pub fn format_duration_ms(ms: u64) -> String {
    let units = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
    ];
    let fitting = units
        .into_iter()
        .find(|(_, factor)| ms > 0 && ms.is_multiple_of(*factor));
    match fitting {
        Some((unit, factor)) => format!("{}{unit}", ms / factor),
        None => format!("{ms}ms"),
    }
}

/// Writes a size in bytes for people: `0 B`, `64 KiB`, `1.5 GiB`.
#[must_use]
pub fn format_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit < UNITS.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    let rounded = (value * 10.0).round() / 10.0;
    format!("{rounded} {}", UNITS[unit])
}

fn scaled(text: &str, factor: impl Fn(&str) -> Option<f64>) -> Option<f64> {
    let text = text.trim();
    let digits_end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits_end);
    let number: f64 = number.parse().ok()?;
    factor(&unit.trim().to_ascii_lowercase()).map(|factor| number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_unit() {
        assert_eq!(parse_bytes("0"), Ok(0));
        assert_eq!(parse_bytes("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(parse_bytes("64KiB"), Ok(65_536));
        assert_eq!(parse_bytes("1.5 GiB"), Ok(1_610_612_736));
        assert_eq!(parse_bytes("10MB"), Ok(10_000_000));
        assert!(parse_bytes("ten").is_err());
        assert!(parse_bytes("-1").is_err());
        assert!(parse_bytes("5 parsecs").is_err());
    }

    #[test]
    fn durations_are_written_as_they_are_read() {
        for text in ["0ms", "250ms", "1001ms", "90s", "5m", "36h", "7d"] {
            let ms = parse_duration(text)
                .unwrap()
                .as_millis()
                .try_into()
                .unwrap();
            assert_eq!(format_duration_ms(ms), text);
        }
    }

    #[test]
    fn durations_are_read_and_a_bare_number_means_milliseconds() {
        assert_eq!(parse_duration("250"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert!(parse_duration("soon").is_err());
        assert!(parse_duration("").is_err());
    }

    #[test]
    fn sizes_are_written_for_people() {
        assert_eq!(format_bytes(0), "0 B");
        assert_eq!(format_bytes(1536), "1.5 KiB");
        assert_eq!(format_bytes(1 << 30), "1 GiB");
    }
}
