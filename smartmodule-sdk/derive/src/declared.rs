//! What a module says of its parameters: lines of JSON in the custom section `thalweg_params`.
//!
//! For the registry, which shows them; docs/formats/smartmodule-abi.md has the format.

use proc_macro2::{Literal, TokenStream};
use quote::quote;

/// One parameter, as texts.
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) value_type: String,
    pub(crate) required: bool,
    pub(crate) default: Option<String>,
    pub(crate) doc: String,
}

/// The line of a type that reads parameters.
pub(crate) fn type_line(type_name: &str, params: &[Declared]) -> TokenStream {
    let fields: Vec<_> = params
        .iter()
        .map(|param| {
            let default = param.default.as_deref().map_or("null".to_owned(), text);
            format!(
                r#"{{"name":{},"type":{},"required":{},"default":{default},"doc":{}}}"#,
                text(&param.name),
                text(&param.value_type),
                param.required,
                text(&param.doc),
            )
        })
        .collect();
    let (type_name, fields) = (text(type_name), fields.join(","));
    in_section(&format!(
        "{{\"struct\":{type_name},\"fields\":[{fields}]}}\n"
    ))
}

/// The line that names the type which `init` takes.
pub(crate) fn init_line(type_name: &str) -> TokenStream {
    in_section(&format!("{{\"params\":{}}}\n", text(type_name)))
}

fn in_section(line: &str) -> TokenStream {
    let bytes = line.len();
    let line = Literal::byte_string(line.as_bytes());
    quote! {
        #[cfg(target_family = "wasm")]
        const _: () = {
            #[used]
            #[unsafe(link_section = "thalweg_params")]
            static DECLARED: [u8; #bytes] = *#line;
        };
    }
}

/// A JSON string.
fn text(value: &str) -> String {
    let mut quoted = String::from("\"");
    for character in value.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            control if u32::from(control) < 0x20 => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_doc_comment_may_hold_is_quoted() {
        assert_eq!(text("a \"b\" \\ \n\u{1}"), r#""a \"b\" \\ \n\u0001""#);
    }
}
