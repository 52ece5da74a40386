//! Some of the fields of a JSON object, the others left out: a map through two serde structs.

use serde::{Deserialize, Serialize};
use thalweg_smartmodule::{Record, RecordData, Result, smartmodule};

#[derive(Deserialize)]
struct Customer {
    id: u64,
    name: String,
    address: Address,
}

#[derive(Deserialize)]
struct Address {
    city: String,
}

#[derive(Serialize)]
struct Resident {
    id: u64,
    name: String,
    city: String,
}

#[smartmodule(map)]
pub fn map(record: &Record) -> Result<(Option<RecordData>, RecordData)> {
    let customer: Customer = serde_json::from_slice(record.value.as_ref())?;
    let resident = Resident {
        id: customer.id,
        name: customer.name,
        city: customer.address.city,
    };
    Ok((record.key.clone(), serde_json::to_vec(&resident)?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_smartmodule::testing::harness;

    #[test]
    fn three_fields_are_left() {
        let customer =
            r#"{"id":7,"name":"Ada","iban":"DE02","address":{"street":"A 1","city":"Ulm"}}"#;

        let out = harness!(map).run([customer]).unwrap();

        assert_eq!(
            out[0].value.as_str(),
            Ok(r#"{"id":7,"name":"Ada","city":"Ulm"}"#)
        );
    }
}
