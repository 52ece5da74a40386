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

    /// The hour when it was to leave, in milliseconds since 1970.
    ///
    /// # Errors
    ///
    /// When it is no time as in `2013-01-01T10:00:00Z`.
    pub fn scheduled_ms(&self) -> Result<i64> {
        let hour = self.scheduled_hour;
        hour_ms(hour).ok_or_else(|| eyre!("`{hour}` is no time as in `2013-01-01T10:00:00Z`"))
    }

    /// Whether it never left.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.departure_time.is_none()
    }
}

fn hour_ms(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, separator| -> Option<[i64; 3]> {
        let numbers: Option<Vec<i64>> = text
            .split(separator)
            .map(|part| part.parse().ok())
            .collect();
        numbers?.try_into().ok()
    };
    let ([year, month, day], [hour, minute, second]) = (numbers(date, '-')?, numbers(time, ':')?);
    if !(1..=12).contains(&month) {
        return None;
    }
    // Days since 1970, with years that begin in March, so that a leap day is a year's last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = 365 * year + leap_days + day_of_year - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000)
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
    fn hours_are_counted_from_1970() {
        let scheduled = |hour: &str| {
            let line = LINE.replace("2013-01-01T10:00:00Z", hour);
            Flight::parse(line.as_bytes()).unwrap().scheduled_ms()
        };

        for (hour, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:00:00Z", 951_865_200),
            ("2013-03-01T05:00:00Z", 1_362_114_000),
            ("2013-12-31T04:30:01Z", 1_388_464_201),
        ] {
            assert_eq!(scheduled(hour).unwrap(), seconds * 1000, "{hour}");
        }
        for wrong in ["2013-01-01 10:00:00", "2013-13-01T00:00:00Z", "NA"] {
            assert!(scheduled(wrong).is_err(), "{wrong}");
        }
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
