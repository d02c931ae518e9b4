//! The expansion of `#[task]` on a function.

use crate::registration::{Registration, cfgs, documentation, text};
use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote};
use syn::{Error, FnArg, ItemFn, Pat, ReturnType, Type, parse_quote};

/// One argument: its name, the type that travels, and how to pass it on.
struct Argument {
    name: Ident,
    shown: Type,
    owned: Type,
    by_ref: bool,
}

pub(crate) fn expand(function: &ItemFn) -> syn::Result<TokenStream> {
    refuse_impossible(function)?;
    let arguments = arguments(function)?;
    let output: Type = match &function.sig.output {
        ReturnType::Default => parse_quote!(()),
        ReturnType::Type(_, ty) => (**ty).clone(),
    };
    let implementation = implementation(function, &arguments, &output);
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

fn implementation(function: &ItemFn, arguments: &[Argument], output: &Type) -> TokenStream {
    let (name, visibility) = (&function.sig.ident, &function.vis);
    let cfgs = cfgs(&function.attrs);
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
    let types = owned.iter().map(text).collect::<Vec<_>>().join(",");
    let registration = Registration {
        cfgs: &cfgs,
        task: quote!(#name),
        name: name.to_string(),
        signature: format!("({shown}){result}"),
        hashed: format!("({types})->{}", text(output)),
        documentation: documentation(&function.attrs),
        args: &owned,
        output,
        call: quote! {
            fn call((#(#names,)*): Self::Args) -> #output {
                #name(#(#passed),*)
            }
        },
    };
    let type_doc = format!("The task [`{name}()`]({name}()), as a type.");
    quote! {
        #(#cfgs)*
        #[doc = #type_doc]
        #[allow(non_camel_case_types)]
        #[derive(Clone, Copy, Debug)]
        #visibility enum #name {}

        #registration
    }
}
