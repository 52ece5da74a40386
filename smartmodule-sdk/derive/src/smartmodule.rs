//! `#[smartmodule(..)]`: the exports around an author's function.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, FnArg, ItemFn, Result, Type};

use crate::declared::init_line;

const KINDS: [&str; 5] = ["filter", "map", "filter_map", "array_map", "aggregate"];
const HOOKS: [&str; 2] = ["init", "look_back"];

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let kind = parse_kind(arguments)?;
    let function: ItemFn = syn::parse2(item).map_err(|error| {
        Error::new(
            error.span(),
            "#[smartmodule(..)] goes in front of a function",
        )
    })?;
    check_function(&kind, &function)?;

    let name = &function.sig.ident;
    let exports = if KINDS.contains(&kind.to_string().as_str()) {
        module_exports()
    } else if kind == "init" {
        params_type(&function).map_or_else(TokenStream::new, |name| init_line(&name))
    } else {
        TokenStream::new()
    };
    let export_name = format!("thalweg_{kind}");
    // Spanned at the function's signature, so that a wrong type is shown there.
    let call = quote_spanned! {function.sig.span()=>
        ::thalweg_smartmodule::guest::#kind(bytes, #name)
    };
    Ok(quote! {
        #function

        const _: () = {
            #[cfg_attr(target_family = "wasm", unsafe(export_name = #export_name))]
            #[cfg_attr(not(target_family = "wasm"), allow(dead_code, reason = "only a guest exports it"))]
            extern "C" fn call(_input: *const u8, bytes: usize) -> *const u8 {
                #call
            }
            #exports
        };
    })
}

/// The name of the type that an `init` takes.
fn params_type(function: &ItemFn) -> Option<String> {
    match function.sig.inputs.first()? {
        FnArg::Typed(argument) => match &*argument.ty {
            Type::Path(path) => Some(path.path.segments.last()?.ident.to_string()),
            _ => None,
        },
        FnArg::Receiver(_) => None,
    }
}

/// What every module exports beside its kind; emitted with the kind, as there is one.
fn module_exports() -> TokenStream {
    quote! {
        #[cfg(target_family = "wasm")]
        #[unsafe(export_name = "thalweg_abi_v1")]
        extern "C" fn abi_v1() {}

        #[cfg(target_family = "wasm")]
        #[unsafe(export_name = "thalweg_alloc")]
        extern "C" fn alloc(bytes: usize) -> *mut u8 {
            ::thalweg_smartmodule::guest::alloc(bytes)
        }
    }
}

fn parse_kind(arguments: TokenStream) -> Result<Ident> {
    let known = || {
        let all: Vec<_> = KINDS.iter().chain(&HOOKS).copied().collect();
        format!("expected one of {}", all.join(", "))
    };
    if arguments.is_empty() {
        let message = format!("name the kind, as in #[smartmodule(filter)]: {}", known());
        return Err(Error::new(proc_macro2::Span::call_site(), message));
    }
    let kind: Ident =
        syn::parse2(arguments.clone()).map_err(|_| Error::new_spanned(&arguments, known()))?;
    let name = kind.to_string();
    if !KINDS.contains(&name.as_str()) && !HOOKS.contains(&name.as_str()) {
        return Err(Error::new(
            kind.span(),
            format!("`{name}` is no kind of SmartModule: {}", known()),
        ));
    }
    // Called by its span of the call site, or the path in `guest` would not resolve in hygiene.
    Ok(format_ident!("{name}", span = kind.span()))
}

fn check_function(kind: &Ident, function: &ItemFn) -> Result<()> {
    let signature = &function.sig;
    if let Some(asyncness) = &signature.asyncness {
        return Err(Error::new_spanned(
            asyncness,
            "a SmartModule's function can't be async: it has nothing to wait for",
        ));
    }
    if !signature.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &signature.generics,
            "a SmartModule's function can't be generic: the host calls it as it is",
        ));
    }
    let (expected, text) = match kind.to_string().as_str() {
        "aggregate" => (
            2,
            "two arguments: the accumulator (RecordData) and the record (&Record)",
        ),
        "init" => (
            1,
            "one argument: SmartModuleExtraParams, or a type with #[derive(SmartOpt)]",
        ),
        _ => (1, "one argument: the record (&Record)"),
    };
    if signature.inputs.len() != expected {
        return Err(Error::new(
            signature.paren_token.span.join(),
            format!("#[smartmodule({kind})] takes a function of {text}"),
        ));
    }
    Ok(())
}
