//! The sum so far, as text.

use thalweg_smartmodule::{Record, RecordData, Result, smartmodule};

#[smartmodule(aggregate)]
pub fn aggregate(accumulator: RecordData, current: &Record) -> Result<RecordData> {
    let accumulator_string = std::str::from_utf8(accumulator.as_ref())?;
    let current_string = std::str::from_utf8(current.value.as_ref())?;

    // What a stream begins with is empty, and counts as nothing.
    let accumulator_int = accumulator_string.trim().parse::<i64>().unwrap_or(0);
    let current_int = current_string.trim().parse::<i64>()?;

    let sum = accumulator_int.saturating_add(current_int);
    Ok(sum.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_smartmodule::testing::harness;

    #[test]
    fn each_record_becomes_the_sum_so_far() {
        let mut stream = harness!(aggregate).accumulator("100");

        stream.run(["1", " -5"]).unwrap();
        let out = stream.run(["4"]).unwrap();

        assert_eq!((out[0].offset(), out[0].value.as_str()), (2, Ok("100")));
    }

    #[test]
    fn what_is_no_number_fails_and_counts_for_nothing() {
        let mut stream = harness!(aggregate);

        let failed = stream.run(["1", "one"]).unwrap_err();

        assert_eq!(failed.message, "invalid digit found in string");
        assert_eq!(stream.accumulated(), b"1");
    }
}
