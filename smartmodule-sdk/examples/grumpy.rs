//! An aggregate that gathers what it is given, and does what a value tells it to, to see how the host takes it: `fail`,
//! `panic`, `loop`.

use thalweg_smartmodule::{Record, RecordData, Result, bail, smartmodule};

#[smartmodule(aggregate)]
fn grumpy(accumulator: RecordData, record: &Record) -> Result<RecordData> {
    match record.value.as_bytes() {
        b"fail" => bail!("in no mood for offset {}", record.offset()),
        b"panic" => panic!("in a panic at offset {}", record.offset()),
        b"loop" => loop {
            std::hint::black_box(());
        },
        value => {
            let mut gathered = accumulator.into_vec();
            gathered.extend_from_slice(value);
            Ok(gathered.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_smartmodule::testing::harness;

    #[test]
    fn it_gathers_until_it_is_told_to_fail() {
        let failed = harness!(grumpy).run(["a", "b", "fail", "c"]).unwrap_err();
        assert_eq!(failed.message, "in no mood for offset 2");
        assert_eq!(failed.passed[1].value.as_str(), Ok("ab"));
    }
}
