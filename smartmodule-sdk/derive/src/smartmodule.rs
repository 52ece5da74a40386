//! `#[smartmodule(..)]`: the exports around an author's function.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, FnArg, GenericParam, ItemFn, Result, ReturnType, Type};

use crate::declared::init_line;
use crate::harness::entry_name;

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
    let groups_export = if kind == "aggregate" {
        groups_export()
    } else {
        TokenStream::new()
    };
    let call = call(&kind, &function);
    let kind_name = kind.to_string();
    let entry_name = entry_name(name);
    let visibility = &function.vis;
    Ok(quote! {
        #function

        #[cfg(target_family = "wasm")]
        const _: () = {
            #[unsafe(export_name = #export_name)]
            extern "C" fn call(_input: *const u8, bytes: usize) -> *const u8 {
                #call
            }
            #groups_export
            #exports
        };

        #[cfg(not(target_family = "wasm"))]
        #[doc(hidden)]
        #[allow(dead_code, non_upper_case_globals, reason = "for `testing::harness!`")]
        #visibility const #entry_name: ::thalweg_smartmodule::testing::Entry = {
            fn call(bytes: usize) -> *const u8 {
                #call
            }
            ::thalweg_smartmodule::testing::Entry::new(#kind_name, call)
        };
    })
}

/// The call into `guest`, with a closure around the function that reads its arguments from the
/// record.
fn call(kind: &Ident, function: &ItemFn) -> TokenStream {
    let name = &function.sig.ident;
    // Spanned at what the function returns, so that a wrong type is shown there.
    let span = match &function.sig.output {
        ReturnType::Type(_, ty) => ty.span(),
        ReturnType::Default => name.span(),
    };
    let guest = quote_spanned!(span=> ::thalweg_smartmodule::guest);
    let record = quote!(record: &::thalweg_smartmodule::Record);
    let written = match kind.to_string().as_str() {
        "init" => return quote_spanned!(span=> #guest::init(bytes, #name)),
        "aggregate" => {
            let arguments = arguments(function, 1);
            return quote_spanned! {span=>
                #guest::aggregate(bytes, |accumulator, #record| {
                    #guest::returned(#name(accumulator, #arguments))
                })
            };
        }
        "map" => quote_spanned!(span=> one),
        "filter_map" => quote_spanned!(span=> at_most_one),
        "array_map" => quote_spanned!(span=> several),
        _ => {
            let arguments = arguments(function, 0);
            return quote_spanned! {span=>
                #guest::#kind(bytes, |#record| #guest::returned(#name(#arguments)))
            };
        }
    };
    let arguments = arguments(function, 0);
    quote_spanned! {span=>
        #guest::write(bytes, |at: #guest::At<'_>, out: &mut #guest::OutputBuffer| {
            let record = at.record;
            #guest::#written(#name(#arguments), at, out)
        })
    }
}

/// The function's arguments from number `first` on, each read from the record.
fn arguments(function: &ItemFn, first: usize) -> TokenStream {
    let arguments = function.sig.inputs.iter().skip(first).map(|argument| {
        let span = match argument {
            FnArg::Typed(argument) => argument.ty.span(),
            FnArg::Receiver(receiver) => receiver.span(),
        };
        quote_spanned! {span=> ::thalweg_smartmodule::FromRecord::from_record(record)? }
    });
    quote!(#(#arguments),*)
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

/// What an aggregate exports for calls with the records of many groups: the input says what it is.
fn groups_export() -> TokenStream {
    quote! {
        #[unsafe(export_name = "thalweg_aggregate_groups")]
        extern "C" fn call_with_groups(input: *const u8, bytes: usize) -> *const u8 {
            call(input, bytes)
        }
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
    let is_lifetime = |param: &GenericParam| matches!(param, GenericParam::Lifetime(_));
    if !signature.generics.params.iter().all(is_lifetime) {
        return Err(Error::new_spanned(
            &signature.generics,
            "a SmartModule's function can't be generic: the host calls it as it is",
        ));
    }
    let count = signature.inputs.len();
    let (fits, text) = match kind.to_string().as_str() {
        "aggregate" => (
            count >= 2,
            "the accumulator (RecordData or Json<T>) and the record (&Record, &str, Json<T>, ..)",
        ),
        "init" => (
            count == 1,
            "one argument: SmartModuleExtraParams, or a type with #[derive(SmartOpt)]",
        ),
        _ => (count >= 1, "the record: &Record, &str, Json<T>, .."),
    };
    if !fits {
        return Err(Error::new(
            signature.paren_token.span.join(),
            format!("#[smartmodule({kind})] takes a function of {text}"),
        ));
    }
    Ok(())
}
