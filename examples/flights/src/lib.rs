//! The flights that left New York in 2013, as lines of comma-separated values.
//!
//! Shared by the SmartModules in `examples/`, one file each. The columns are those of
//! `data/README.md`; `NA` stands for a value that is missing.
#![forbid(unsafe_code)]

use thalweg_smartmodule::{Context, Result, eyre};

/// How many columns a line has.
const COLUMNS: usize = 19;
/// What stands where a value is missing.
const MISSING: &str = "NA";

/// One flight, borrowed from its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flight<'a> {
    /// The day, as year, month and day.
    pub date: [&'a str; 3],
    /// When it left, as hhmm; `None` when it was cancelled.
    pub departure_time: Option<&'a str>,
    /// By how many minutes it left late; negative when early.
    pub departure_delay: Option<i64>,
    /// By how many minutes it arrived late; negative when early.
    pub arrival_delay: Option<i64>,
    /// Two letters of its carrier.
    pub carrier: &'a str,
    /// Its number with the carrier.
    pub number: &'a str,
    /// The airport it left.
    pub origin: &'a str,
    /// The airport it went to.
    pub destination: &'a str,
    /// When it was to leave, as an RFC 3339 time of the hour.
    pub scheduled_hour: &'a str,
}

impl<'a> Flight<'a> {
    /// Reads a line.
    ///
    /// # Errors
    ///
    /// When it is not UTF-8, has too few or too many columns, or a delay is no number.
    pub fn parse(line: &'a [u8]) -> Result<Self> {
        let columns = columns(std::str::from_utf8(line)?)?;
        Ok(Self {
            date: [columns[0], columns[1], columns[2]],
            departure_time: present(columns[3]),
            departure_delay: minutes("dep_delay", columns[5])?,
            arrival_delay: minutes("arr_delay", columns[8])?,
            carrier: columns[9],
            number: columns[10],
            origin: columns[12],
            destination: columns[13],
            scheduled_hour: columns[18],
        })
    }

    /// Whether it never left.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.departure_time.is_none()
    }
}

fn columns(line: &str) -> Result<[&str; COLUMNS]> {
    let mut columns = [""; COLUMNS];
    let mut found = 0;
    for column in line.split(',') {
        *columns
            .get_mut(found)
            .ok_or_else(|| eyre!("a flight has {COLUMNS} columns, this line has more"))? = column;
        found += 1;
    }
    if found < COLUMNS {
        return Err(eyre!(
            "a flight has {COLUMNS} columns, this line has {found}"
        ));
    }
    Ok(columns)
}

fn present(column: &str) -> Option<&str> {
    (column != MISSING).then_some(column)
}

fn minutes(name: &str, column: &str) -> Result<Option<i64>> {
    present(column)
        .map(|text| {
            text.parse()
                .with_context(|| format!("column `{name}` holds `{text}`"))
        })
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        "2013,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z";

    #[test]
    fn a_line_reads_as_its_columns() {
        let flight = Flight::parse(LINE.as_bytes()).unwrap();

        assert_eq!(flight.date, ["2013", "1", "1"]);
        assert_eq!(flight.departure_delay, Some(2));
        assert_eq!(flight.arrival_delay, Some(11));
        assert_eq!((flight.carrier, flight.number), ("UA", "1545"));
        assert_eq!((flight.origin, flight.destination), ("EWR", "IAH"));
        assert!(!flight.is_cancelled());
    }

    #[test]
    fn a_wrong_line_says_what_is_wrong() {
        let error = |line: &str| Flight::parse(line.as_bytes()).unwrap_err().to_string();

        assert_eq!(error("a,b"), "a flight has 19 columns, this line has 2");
        assert_eq!(
            error(&LINE.replace(",2,830", ",soon,830")),
            "column `dep_delay` holds `soon`: invalid digit found in string"
        );
        assert!(error(&format!("{LINE},")).contains("has more"));
    }
}
