//! Typed JSON in and out, nested JSON as a parameter, and lines for the log, beyond what fluvio
//! has: a filter_map that prices orders by `--param prices='{"sku":cents,..}'`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thalweg_smartmodule::{Json, Result, SmartOpt, State, smartmodule, warn};

#[derive(Deserialize)]
pub struct Order<'a> {
    id: u64,
    customer: &'a str,
    #[serde(borrow)]
    lines: Vec<Line<'a>>,
}

#[derive(Deserialize)]
struct Line<'a> {
    sku: &'a str,
    count: u64,
}

#[derive(Debug, PartialEq, Serialize)]
pub struct Invoice {
    order: u64,
    cents: u64,
}

#[derive(SmartOpt)]
struct Options {
    /// What each article costs, in cents.
    #[opt(json)]
    prices: BTreeMap<String, u64>,
    /// What every invoice has on top.
    #[opt(default = 0)]
    shipping: u64,
}

static OPTIONS: State<Options> = State::new();

#[smartmodule(init)]
fn init(options: Options) -> Result<()> {
    OPTIONS.set(options)
}

#[smartmodule(filter_map)]
pub fn invoice<'a>(Json(order): Json<Order<'a>>) -> Result<Option<(&'a str, Json<Invoice>)>> {
    let options = OPTIONS.get()?;
    let mut cents = options.shipping;
    for line in &order.lines {
        let Some(price) = options.prices.get(line.sku) else {
            warn!(
                "order {} asks for `{}`, which has no price",
                order.id, line.sku
            );
            return Ok(None);
        };
        cents += price * line.count;
    }
    let invoice = Invoice {
        order: order.id,
        cents,
    };
    Ok(Some((order.customer, Json(invoice))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_smartmodule::testing::{Harness, harness};

    fn stream() -> Harness {
        harness!(init, invoice).param("prices", r#"{"pen":120,"ink":450}"#)
    }

    fn order(lines: &str) -> String {
        format!(r#"{{"id":7,"customer":"Ada","lines":[{lines}]}}"#)
    }

    #[test]
    fn an_order_is_priced_and_one_without_a_price_left_out() {
        let priced = order(r#"{"sku":"pen","count":2},{"sku":"ink","count":1}"#);
        let unknown = order(r#"{"sku":"cap","count":1}"#);

        let out = stream()
            .param("shipping", "300")
            .run([unknown, priced])
            .unwrap();

        assert_eq!(out.len(), 1);
        assert_eq!(out[0].key, Some("Ada".into()));
        assert_eq!(out[0].value.as_str(), Ok(r#"{"order":7,"cents":990}"#));
    }

    #[test]
    fn an_order_of_another_shape_fails_at_its_field() {
        let failed = stream()
            .run([order(r#"{"sku":"pen","count":"2"}"#)])
            .unwrap_err();

        assert!(failed.message.ends_with("in `lines[0].count`"), "{failed}");
    }
}
