//! Points in time as users write and read them.

use std::time::{Duration, UNIX_EPOCH};

use thalweg_types::parse_duration;

/// Reads a point in time: milliseconds since 1970, RFC 3339 (`2013-06-01T12:00:00Z`, UTC where no
/// zone is given), or how long ago (`-1h`).
pub(crate) fn parse_timestamp_ms(text: &str, now_ms: i64) -> Result<i64, String> {
    let wrong = || {
        format!(
            "`{text}` is not a point in time, write for example `2013-06-01T12:00:00Z`, milliseconds since 1970, or `-1h` for an hour ago"
        )
    };
    if let Some(ago) = text.strip_prefix('-') {
        let ago = parse_duration(ago).map_err(|_| wrong())?;
        let ago_ms = i64::try_from(ago.as_millis()).map_err(|_| wrong())?;
        return Ok(now_ms.saturating_sub(ago_ms));
    }
    if let Ok(ms) = text.parse() {
        return Ok(ms);
    }
    let time = humantime::parse_rfc3339_weak(text).map_err(|_| wrong())?;
    let since_1970 = time.duration_since(UNIX_EPOCH).map_err(|_| wrong())?;
    i64::try_from(since_1970.as_millis()).map_err(|_| wrong())
}

/// Writes milliseconds since 1970 as RFC 3339 in UTC, or as the plain number where no calendar
/// date fits.
pub(crate) fn format_timestamp_ms(ms: i64) -> String {
    // The end of the year 9999, which is as far as RFC 3339 goes.
    const LAST_MS: u64 = 253_402_300_799_999;
    match u64::try_from(ms) {
        Ok(ms) if ms <= LAST_MS => {
            let time = UNIX_EPOCH + Duration::from_millis(ms);
            humantime::format_rfc3339_millis(time).to_string()
        }
        _ => ms.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_ways_to_write_a_point_in_time() {
        let parse = |text| parse_timestamp_ms(text, 10_000_000);

        assert_eq!(parse("1370088000000"), Ok(1_370_088_000_000));
        assert_eq!(parse("2013-06-01T12:00:00Z"), Ok(1_370_088_000_000));
        assert_eq!(parse("2013-06-01 12:00:00"), Ok(1_370_088_000_000));
        assert_eq!(parse("-1h"), Ok(6_400_000));
        assert!(parse("yesterday").is_err());
    }

    #[test]
    fn times_outside_the_calendar_are_shown_as_numbers() {
        assert_eq!(
            format_timestamp_ms(1_370_088_000_000),
            "2013-06-01T12:00:00.000Z"
        );
        assert_eq!(format_timestamp_ms(-1), "-1");
        assert_eq!(format_timestamp_ms(i64::MAX), i64::MAX.to_string());
    }
}
