//! `harness!(..)`: the functions of a module as a host calls them.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Error, Path, Result, Token};

pub(crate) fn expand(functions: TokenStream) -> Result<TokenStream> {
    let parser = Punctuated::<Path, Token![,]>::parse_terminated;
    let mut entries = parser.parse2(functions)?;
    if entries.is_empty() {
        return Err(Error::new(
            proc_macro2::Span::call_site(),
            "name the module's functions, as in harness!(init, filter)",
        ));
    }
    for path in &mut entries {
        if let Some(function) = path.segments.last_mut() {
            function.ident = entry_name(&function.ident);
        }
    }
    Ok(quote! { ::thalweg_smartmodule::testing::Harness::new(&[#entries]) })
}

/// What the constant beside a function is called.
pub(crate) fn entry_name(function: &Ident) -> Ident {
    let name = function.to_string();
    let name = name.trim_start_matches("r#");
    format_ident!("__smartmodule_{name}", span = function.span())
}
