//! `#[derive(SmartOpt)]`: a struct read from parameters.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Expr, Field, Fields, Lit, LitStr, Result, Type};

pub(crate) fn expand(item: TokenStream) -> Result<TokenStream> {
    let input: DeriveInput = syn::parse2(item)?;
    let fields = named_fields(&input)?;
    let params = fields.iter().map(Param::read).collect::<Result<Vec<_>>>()?;

    let type_name = &input.ident;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    let names = params.iter().map(|param| &param.name);
    let inits = params.iter().map(Param::init);
    Ok(quote! {
        impl #impl_generics ::thalweg_smartmodule::SmartOpt
            for #type_name #type_generics #where_clause
        {
            fn from_params(
                params: &::thalweg_smartmodule::SmartModuleExtraParams,
            ) -> ::core::result::Result<Self, ::thalweg_smartmodule::ParamError> {
                ::thalweg_smartmodule::guest::fields::only(params, &[#(#names),*])?;
                ::core::result::Result::Ok(Self { #(#inits),* })
            }
        }
    })
}

fn named_fields(input: &DeriveInput) -> Result<Vec<Field>> {
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => Ok(fields.named.iter().cloned().collect()),
            Fields::Unit => Ok(Vec::new()),
            Fields::Unnamed(fields) => Err(Error::new_spanned(
                fields,
                "parameters have names: give the fields names",
            )),
        },
        _ => Err(Error::new_spanned(
            &input.ident,
            "SmartOpt can be derived for a struct with named fields",
        )),
    }
}

/// A field, and how it is read.
struct Param {
    field: Field,
    name: String,
    default: Option<ParamDefault>,
}

enum ParamDefault {
    OfType,
    Value(Box<Expr>),
}

impl Param {
    fn read(field: &Field) -> Result<Self> {
        let ident = field
            .ident
            .as_ref()
            .ok_or_else(|| Error::new_spanned(field, "the field has no name"))?;
        let mut param = Self {
            field: field.clone(),
            name: ident.to_string().trim_start_matches("r#").to_owned(),
            default: None,
        };
        for attribute in field.attrs.iter().filter(|a| a.path().is_ident("opt")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("name") {
                    param.name = meta.value()?.parse::<LitStr>()?.value();
                } else if meta.path.is_ident("default") {
                    param.default = Some(match meta.value() {
                        Ok(value) => ParamDefault::Value(Box::new(value.parse()?)),
                        Err(_) => ParamDefault::OfType,
                    });
                } else {
                    return Err(meta.error("expected `default`, `default = ..` or `name = \"..\"`"));
                }
                Ok(())
            })?;
        }
        Ok(param)
    }

    fn init(&self) -> TokenStream {
        let ident = &self.field.ident;
        let name = &self.name;
        // Spanned at the field's type, so that a type that can't be read is shown there.
        let span = self.field.ty.span();
        let fields = quote_spanned!(span=> ::thalweg_smartmodule::guest::fields);
        match &self.default {
            _ if is_option(&self.field.ty) => {
                quote_spanned!(span=> #ident: #fields::optional(params, #name)?)
            }
            None => quote_spanned!(span=> #ident: #fields::required(params, #name)?),
            Some(ParamDefault::OfType) => {
                quote_spanned!(span=> #ident: #fields::optional(params, #name)?.unwrap_or_default())
            }
            Some(ParamDefault::Value(value)) => {
                let value = default_value(value);
                quote_spanned!(span=>
                    #ident: #fields::with_default(params, #name, || #value)?
                )
            }
        }
    }
}

/// Texts are written as literals, and fields that hold them are no `&str`.
fn default_value(value: &Expr) -> TokenStream {
    match value {
        Expr::Lit(literal) if matches!(literal.lit, Lit::Str(_)) => {
            quote!(::core::convert::From::from(#value))
        }
        _ => quote!(#value),
    }
}

fn is_option(ty: &Type) -> bool {
    match ty {
        Type::Path(path) => path
            .path
            .segments
            .last()
            .is_some_and(|segment| segment.ident == "Option"),
        _ => false,
    }
}
