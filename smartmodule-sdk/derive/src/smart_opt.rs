//! `#[derive(SmartOpt)]`: a struct read from parameters.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Expr, Field, Fields, Lit, LitStr, Result, Type};

use crate::declared::{Declared, type_line};

pub(crate) fn expand(item: TokenStream) -> Result<TokenStream> {
    let input: DeriveInput = syn::parse2(item)?;
    let fields = named_fields(&input)?;
    let params = fields.iter().map(Param::read).collect::<Result<Vec<_>>>()?;
    check_names(&params)?;

    let type_name = &input.ident;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    let names = params.iter().map(|param| &param.name);
    let inits = params.iter().map(Param::init);
    let declared: Vec<_> = params.iter().map(Param::declared).collect();
    let declared = type_line(&type_name.to_string(), &declared);
    Ok(quote! {
        #declared

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

/// No name is empty, and none is given twice: a parameter would silently fill two fields.
fn check_names(params: &[Param]) -> Result<()> {
    for (index, param) in params.iter().enumerate() {
        let message = if param.name.is_empty() {
            "a parameter has a name: name = \"..\" is empty".to_owned()
        } else if params[..index].iter().any(|other| other.name == param.name) {
            format!("two fields are read from the parameter `{}`", param.name)
        } else {
            continue;
        };
        return Err(Error::new_spanned(&param.field.ident, message));
    }
    Ok(())
}

/// A field, and how it is read.
struct Param {
    field: Field,
    name: String,
    default: Option<ParamDefault>,
    is_json: bool,
}

enum ParamDefault {
    OfType,
    Value(Box<Expr>),
}

impl ParamDefault {
    fn value(&self) -> TokenStream {
        match self {
            Self::OfType => quote!(::core::default::Default::default()),
            // Texts are written as literals, and fields that hold them are no `&str`.
            Self::Value(value) => match &**value {
                Expr::Lit(literal) if matches!(literal.lit, Lit::Str(_)) => {
                    quote!(::core::convert::From::from(#value))
                }
                value => quote!(#value),
            },
        }
    }
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
            is_json: false,
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
                } else if meta.path.is_ident("json") {
                    param.is_json = true;
                } else {
                    return Err(
                        meta.error("expected `default`, `default = ..`, `json` or `name = \"..\"`")
                    );
                }
                Ok(())
            })?;
        }
        if is_option(&field.ty) && param.default.is_some() {
            return Err(Error::new_spanned(
                &field.ty,
                "a parameter with a default is never absent: drop `Option` or the default",
            ));
        }
        Ok(param)
    }

    fn declared(&self) -> Declared {
        let ty = &self.field.ty;
        Declared {
            name: self.name.clone(),
            // Tokens are written with blanks between them: `Option < u32 >`.
            value_type: quote!(#ty).to_string().replace(' ', ""),
            required: self.default.is_none() && !is_option(ty),
            default: match &self.default {
                Some(ParamDefault::Value(value)) => Some(default_text(value)),
                Some(ParamDefault::OfType) | None => None,
            },
            doc: doc_text(&self.field),
        }
    }

    fn init(&self) -> TokenStream {
        let ident = &self.field.ident;
        let name = &self.name;
        // Spanned at the field's type, so that a type that can't be read is shown there.
        let span = self.field.ty.span();
        let fields = quote_spanned!(span=> ::thalweg_smartmodule::guest::fields);
        let ty = &self.field.ty;
        let value = match &self.default {
            // The type inside of the `Option` is the compiler's to find.
            _ if is_option(ty) && self.is_json => quote_spanned!(span=>
                #fields::optional::<::thalweg_smartmodule::Json<_>>(params, #name)?
                    .map(|json| json.0)
            ),
            _ if is_option(ty) => quote_spanned!(span=> #fields::optional(params, #name)?),
            None if self.is_json => quote_spanned!(span=>
                #fields::required::<::thalweg_smartmodule::Json<#ty>>(params, #name)?.0
            ),
            None => quote_spanned!(span=> #fields::required::<#ty>(params, #name)?),
            Some(default) => {
                let default = default.value();
                if self.is_json {
                    let json = quote_spanned!(span=> ::thalweg_smartmodule::Json);
                    quote_spanned!(span=>
                        #fields::with_default::<#json<#ty>>(params, #name, || #json(#default))?.0
                    )
                } else {
                    quote_spanned!(span=>
                        #fields::with_default::<#ty>(params, #name, || #default)?
                    )
                }
            }
        };
        quote_spanned!(span=> #ident: #value)
    }
}

/// A default as a user would write it.
fn default_text(value: &Expr) -> String {
    match value {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => text.value(),
            other => quote!(#other).to_string(),
        },
        other => quote!(#other).to_string(),
    }
}

/// The field's doc comment, its lines joined.
fn doc_text(field: &Field) -> String {
    let lines = field.attrs.iter().filter_map(|attribute| {
        let value = &attribute.meta.require_name_value().ok()?.value;
        match value {
            Expr::Lit(literal) if attribute.path().is_ident("doc") => match &literal.lit {
                Lit::Str(text) => Some(text.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        }
    });
    lines.collect::<Vec<_>>().join(" ").trim().to_owned()
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
