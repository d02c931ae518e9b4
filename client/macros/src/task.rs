//! The expansion of `#[task]`.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprLit, FnArg, ItemFn, Lit, Meta, Pat, ReturnType, Type, parse_quote};

/// One argument: its name, the type that travels, and how to pass it on.
struct Argument {
    name: Ident,
    shown: Type,
    owned: Type,
    by_ref: bool,
}

pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    if !attribute.is_empty() {
        return Err(Error::new_spanned(attribute, "`#[task]` takes no arguments"));
    }
    let function: ItemFn = syn::parse2(item)?;
    refuse_impossible(&function)?;
    let arguments = arguments(&function)?;
    let output: Type = match &function.sig.output {
        ReturnType::Default => parse_quote!(()),
        ReturnType::Type(_, ty) => (**ty).clone(),
    };
    let implementation = implementation(&function, &arguments, &output);
    Ok(quote! { #function #implementation })
}

fn refuse_impossible(function: &ItemFn) -> syn::Result<()> {
    let sig = &function.sig;
    let refuse = |tokens: &dyn ToTokens, what: &str| {
        Err(Error::new_spanned(tokens.to_token_stream(), format!("a task cannot be {what}")))
    };
    if let Some(token) = &sig.asyncness {
        return refuse(token, "async: run a runtime inside it");
    }
    if let Some(token) = &sig.unsafety {
        return refuse(token, "unsafe: another process calls it");
    }
    if let Some(token) = &sig.variadic {
        return refuse(token, "variadic");
    }
    if !sig.generics.params.is_empty() {
        return refuse(&sig.generics, "generic: each task is one function with one name");
    }
    Ok(())
}

fn arguments(function: &ItemFn) -> syn::Result<Vec<Argument>> {
    let mut arguments = Vec::new();
    for input in &function.sig.inputs {
        let FnArg::Typed(input) = input else {
            return Err(Error::new_spanned(input, "a task cannot take `self`"));
        };
        let Pat::Ident(pattern) = &*input.pat else {
            return Err(Error::new_spanned(&input.pat, "a task's argument needs a plain name"));
        };
        let (owned, by_ref) = owned(&input.ty)?;
        arguments.push(Argument {
            name: pattern.ident.clone(),
            shown: (*input.ty).clone(),
            owned,
            by_ref,
        });
    }
    if arguments.len() > 12 {
        let message = "a task takes at most 12 arguments; put them in a struct";
        return Err(Error::new_spanned(&function.sig.inputs, message));
    }
    Ok(arguments)
}

/// The owned type that travels for an argument of type `ty`.
fn owned(ty: &Type) -> syn::Result<(Type, bool)> {
    let Type::Reference(reference) = ty else { return Ok((ty.clone(), false)) };
    if reference.mutability.is_some() {
        return Err(Error::new_spanned(ty, "a task cannot change its caller's value: return it"));
    }
    Ok((
        match &*reference.elem {
            Type::Path(path) if path.path.is_ident("str") => parse_quote!(::std::string::String),
            Type::Path(path) if path.path.segments.last().is_some_and(|s| s.ident == "Path") => {
                parse_quote!(::std::path::PathBuf)
            }
            Type::Slice(slice) => {
                let element = &slice.elem;
                parse_quote!(::std::vec::Vec<#element>)
            }
            other => other.clone(),
        },
        true,
    ))
}

fn client_crate() -> TokenStream {
    match crate_name("mpserverd-client") {
        Ok(FoundCrate::Name(name)) => {
            let name = Ident::new(&name, Span::call_site());
            quote!(::#name)
        }
        // Inside the client itself (its own tests and examples) the crate has its real name.
        Ok(FoundCrate::Itself) | Err(_) => quote!(::mpserverd_client),
    }
}

/// Tokens as a person would write them.
fn text(tokens: &impl ToTokens) -> String {
    tokens
        .to_token_stream()
        .to_string()
        .replace(" :: ", "::")
        .replace(" < ", "<")
        .replace("< ", "<")
        .replace(" <", "<")
        .replace(" >", ">")
        .replace(" ,", ",")
        .replace("& ", "&")
        .replace("( )", "()")
}

fn documentation(function: &ItemFn) -> String {
    let lines = function.attrs.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    });
    lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

fn implementation(function: &ItemFn, arguments: &[Argument], output: &Type) -> TokenStream {
    let mp = client_crate();
    let (name, visibility) = (&function.sig.ident, &function.vis);
    let cfgs = function.attrs.iter().filter(|a| a.path().is_ident("cfg")).collect::<Vec<_>>();
    let doc = documentation(function);
    let owned = arguments.iter().map(|a| &a.owned).collect::<Vec<_>>();
    let names = arguments.iter().map(|a| &a.name).collect::<Vec<_>>();
    let passed = arguments.iter().map(|a| {
        let name = &a.name;
        if a.by_ref { quote!(&#name) } else { quote!(#name) }
    });
    let shown = arguments
        .iter()
        .map(|a| format!("{}: {}", a.name, text(&a.shown)))
        .collect::<Vec<_>>()
        .join(", ");
    let result = match &function.sig.output {
        ReturnType::Default => String::new(),
        ReturnType::Type(_, ty) => format!(" -> {}", text(ty)),
    };
    let signature = format!("({shown}){result}");
    let types = owned.iter().map(text).collect::<Vec<_>>().join(",");
    let hashed = format!("({types})->{}", text(output));
    let arity = arguments.len();
    // What is wrong with the result is said where it stands.
    let there = Span::call_site().located_at(output.span());
    let returns = quote_spanned!(there=> (&&&__mp::Returns::<#output>::new()));
    let encode = quote_spanned!(there=> #returns.encode(codec, output));
    let decode = quote_spanned!(there=> #returns.decode(codec, failed, payload));
    let type_doc = format!("The task [`{name}()`]({name}()), as a type.");
    quote! {
        #(#cfgs)*
        #[doc = #type_doc]
        #[allow(non_camel_case_types)]
        #[derive(Clone, Copy, Debug)]
        #visibility enum #name {}

        #(#cfgs)*
        const _: () = {
            use #mp::__private as __mp;
            #[allow(unused_imports)]
            use __mp::{ReturnsValue as _, ReturnsResult as _, ReturnsIoResult as _};

            impl #mp::Task for #name {
                const NAME: &'static str = ::core::concat!(::core::module_path!(), "::", ::core::stringify!(#name));
                const SIGNATURE: &'static str = #signature;
                const DOC: &'static str = #doc;
                const SCHEMA: u64 = __mp::schema_hash(#hashed);
                const ARITY: usize = #arity;
                type Args = (#(#owned,)*);
                type Output = #output;

                fn call((#(#names,)*): Self::Args) -> #output {
                    #name(#(#passed),*)
                }
                fn encode(codec: __mp::Codec, output: #output) -> __mp::Encoded {
                    #encode
                }
                fn decode(codec: __mp::Codec, failed: bool, payload: &[u8]) -> ::core::result::Result<#output, __mp::CodecError> {
                    #decode
                }
            }

            #[__mp::linkme::distributed_slice(__mp::TASKS)]
            #[linkme(crate = __mp::linkme)]
            static ENTRY: __mp::TaskEntry = __mp::TaskEntry::of::<#name>();
        };
    }
}
