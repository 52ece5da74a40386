//! A map for transforms with the table `names`: the name that the table has for the value, and how long it is.

use thalweg_smartmodule::{Record, Result, smartmodule, table};

#[smartmodule(map)]
fn named(record: &Record) -> Result<String> {
    let name = table("names").get(&record.value)?;
    Ok(match name {
        Some(name) => format!("{} ({})", name.as_str()?, name.len()),
        None => format!("nobody knows {}", record.value.as_str()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_smartmodule::testing::set_table;

    #[test]
    fn a_value_has_the_name_that_the_table_says() {
        named(&Record::new("UA")).unwrap_err();
        set_table("names", [("UA", "United")]);
        assert_eq!(named(&Record::new("UA")).unwrap(), "United (6)");
        assert_eq!(named(&Record::new("XX")).unwrap(), "nobody knows XX");
    }
}
