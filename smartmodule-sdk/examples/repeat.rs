//! An array_map: repeats each value `--param times=..` times, twice unless given.

use std::sync::OnceLock;

use thalweg_smartmodule::{Record, RecordData, Result, SmartOpt, eyre, smartmodule};

#[derive(Debug, SmartOpt)]
struct Repeat {
    #[opt(default = 2)]
    times: usize,
}

static REPEAT: OnceLock<Repeat> = OnceLock::new();

#[smartmodule(init)]
fn init(params: Repeat) -> Result<()> {
    REPEAT.set(params).map_err(|_| eyre!("initialised twice"))
}

#[smartmodule(array_map)]
fn repeat(record: &Record) -> Result<Vec<(Option<RecordData>, RecordData)>> {
    let times = REPEAT.get().map_or(2, |repeat| repeat.times);
    Ok((0..times)
        .map(|_| (record.key.clone(), record.value.clone()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_twice() {
        assert_eq!(repeat(&Record::new("again")).unwrap().len(), 2);
    }
}
