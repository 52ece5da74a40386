//! The macros of the SmartModule SDK: `#[smartmodule(..)]`, `#[derive(SmartOpt)]` and `harness!(..)`.
//!
//! They parse and emit; all behaviour lives in ordinary functions of `thalweg_smartmodule`. Errors
//! point at the author's code.
#![forbid(unsafe_code)]

mod declared;
mod harness;
mod smart_opt;
mod smartmodule;

use proc_macro::TokenStream;

/// Makes a function what a SmartModule exports: `#[smartmodule(filter)]`, or `map`, `filter_map`,
/// `array_map`, `aggregate`, and the hooks `init` and `look_back`.
///
/// The function itself stays as it is, and can be called from native tests.
#[proc_macro_attribute]
pub fn smartmodule(arguments: TokenStream, item: TokenStream) -> TokenStream {
    smartmodule::expand(arguments.into(), item.clone().into())
        .map(TokenStream::from)
        .unwrap_or_else(|error| {
            // The item stays, so that the one error is not followed by others for want of it.
            let mut tokens = TokenStream::from(error.to_compile_error());
            tokens.extend(item);
            tokens
        })
}

/// Lets `init` take a struct in place of untyped parameters: each field is a parameter of its
/// name, read by `FromStr`. A field of type `Option` may be left out, as may one with
/// `#[opt(default)]` or `#[opt(default = 60)]`; `#[opt(name = "dep-delay")]` names the parameter;
/// `#[opt(json)]` reads any type of serde from the parameter's JSON.
#[proc_macro_derive(SmartOpt, attributes(opt))]
pub fn smart_opt(item: TokenStream) -> TokenStream {
    smart_opt::expand(item.into())
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}

/// The module that some functions make, ready to be given records in a native test: the function
/// of its kind and its hooks, in any order, as in `harness!(init, contains)`.
#[proc_macro]
pub fn harness(functions: TokenStream) -> TokenStream {
    harness::expand(functions.into())
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}
