//! The expansion of `#[task]` on an `impl Runnable`.

use crate::registration::{Registration, cfgs, client_crate, documentation, text};
use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Error, ImplItem, ImplItemFn, ItemImpl, Type};

pub(crate) fn expand(item: &ItemImpl) -> syn::Result<TokenStream> {
    refuse_impossible(item)?;
    let (output, run) = (output(item)?, run(item)?);
    let mp = client_crate();
    let state = &*item.self_ty;
    let doc = match documentation(&item.attrs) {
        none if none.is_empty() => documentation(&run.attrs),
        doc => doc,
    };
    let (state_text, output_text) = (text(state), text(output));
    let result = if output_text == "()" { String::new() } else { format!(" -> {output_text}") };
    let registration = Registration {
        cfgs: &cfgs(&item.attrs),
        task: state.to_token_stream(),
        name: state_text.clone(),
        signature: format!("(self: {state_text}){result}"),
        hashed: format!("({state_text})->{output_text}"),
        documentation: doc,
        args: &[state],
        output,
        call: quote! {
            fn call((state,): Self::Args) -> #output {
                <Self as #mp::Runnable>::run(state)
            }
        },
    };
    Ok(quote! { #item #registration })
}

fn refuse_impossible(item: &ItemImpl) -> syn::Result<()> {
    let named = item.trait_.as_ref().and_then(|(_, path, _)| path.segments.last());
    if named.is_none_or(|name| name.ident != "Runnable") {
        let what = "`#[task]` goes before a function or an `impl mp::Runnable for TYPE`";
        let found = match &item.trait_ {
            Some((_, path, _)) => path.to_token_stream(),
            None => item.self_ty.to_token_stream(),
        };
        return Err(Error::new_spanned(found, what));
    }
    if !item.generics.params.is_empty() {
        let what = "a task cannot be generic: each is one type with one name";
        return Err(Error::new_spanned(&item.generics, what));
    }
    if !matches!(&*item.self_ty, Type::Path(_)) {
        let what = "a task needs a type with a name: a struct or an enum";
        return Err(Error::new_spanned(&item.self_ty, what));
    }
    Ok(())
}

fn output(item: &ItemImpl) -> syn::Result<&Type> {
    let found = item.items.iter().find_map(|item| match item {
        ImplItem::Type(alias) if alias.ident == "Output" => Some(&alias.ty),
        _ => None,
    });
    found.ok_or_else(|| {
        let what = "`type Output = …;` is missing: what `run` returns";
        Error::new_spanned(&item.self_ty, what)
    })
}

fn run(item: &ItemImpl) -> syn::Result<&ImplItemFn> {
    let found = item.items.iter().find_map(|item| match item {
        ImplItem::Fn(function) if function.sig.ident == "run" => Some(function),
        _ => None,
    });
    let run = found.ok_or_else(|| {
        let what = "`fn run(self) -> Self::Output` is missing: what the worker does";
        Error::new_spanned(&item.self_ty, what)
    })?;
    if let Some(token) = &run.sig.asyncness {
        return Err(Error::new_spanned(token, "a task cannot be async: run a runtime inside it"));
    }
    if run.sig.receiver().is_none_or(|receiver| receiver.reference.is_some()) {
        let what = "`run` takes `self`: the state is the worker's own";
        return Err(Error::new_spanned(&run.sig, what));
    }
    Ok(run)
}
