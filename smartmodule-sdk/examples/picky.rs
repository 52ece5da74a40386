//! A map that fails at the value that `--param refuse=..` gives, and passes on all others. Its
//! parameters are read without `SmartOpt`.

use std::sync::OnceLock;

use thalweg_smartmodule::dataplane::smartmodule::{
    SmartModuleExtraParams, SmartModuleInitError, SmartModuleRecord,
};
use thalweg_smartmodule::{RecordData, Result, eyre, smartmodule};

static REFUSE: OnceLock<String> = OnceLock::new();

#[smartmodule(init)]
fn init(params: SmartModuleExtraParams) -> Result<()> {
    let refuse = params
        .get("refuse")
        .ok_or_else(|| SmartModuleInitError::MissingParam("refuse".to_owned()))?;
    REFUSE
        .set(refuse.clone())
        .map_err(|_| eyre!("initialised twice"))
}

#[smartmodule(map)]
fn picky(record: &SmartModuleRecord) -> Result<(Option<RecordData>, RecordData)> {
    if REFUSE
        .get()
        .is_some_and(|r| r.as_bytes() == record.value.as_ref())
    {
        return Err(eyre!("`{}` is refused", record.value));
    }
    Ok((record.key.clone(), record.value.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refused_value_fails() {
        init(SmartModuleExtraParams::from([("refuse", "x")])).unwrap();

        assert!(picky(&SmartModuleRecord::new("y")).is_ok());
        let error = picky(&SmartModuleRecord::new("x")).unwrap_err();
        assert_eq!(error.to_string(), "`x` is refused");
    }
}
