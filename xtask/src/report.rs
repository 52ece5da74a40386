//! What xtask says: progress and results on stdout, failures on stderr.

use std::io::{self, Write};
use std::time::Duration;

/// Says a line.
pub(crate) fn say(text: &str) {
    // When nobody reads, the work goes on all the same.
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Says what went wrong.
pub(crate) fn complain(text: &str) {
    // As above.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// `1234567` as `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// So much in so much time, per second.
pub(crate) fn rate(count: u64, elapsed: Duration) -> u64 {
    (count as f64 / elapsed.as_secs_f64().max(1e-9)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped_from_the_right() {
        let grouped: Vec<_> = [0, 999, 1000, 1_234_567].map(thousands).into();

        assert_eq!(grouped, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_rate_is_per_second() {
        assert_eq!(rate(500, Duration::from_millis(250)), 2000);
    }
}
