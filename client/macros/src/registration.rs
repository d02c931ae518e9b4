//! What both expansions have in common: the implementation of `Task`, and its place in the table.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{Attribute, Expr, ExprLit, Lit, Meta, Type};

/// A task, as it is registered.
pub(crate) struct Registration<'a> {
    pub(crate) cfgs: &'a [&'a Attribute],
    /// The type that implements `Task`.
    pub(crate) task: TokenStream,
    /// Its name, without the path of its module.
    pub(crate) name: String,
    pub(crate) signature: String,
    /// What its schema is the hash of.
    pub(crate) hashed: String,
    pub(crate) documentation: String,
    /// Types of its arguments.
    pub(crate) args: &'a [&'a Type],
    pub(crate) output: &'a Type,
    /// `fn call`.
    pub(crate) call: TokenStream,
}

impl ToTokens for Registration<'_> {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let mp = client_crate();
        let Self { cfgs, task, name, signature, hashed, documentation, args, output, call } = self;
        let arity = args.len();
        tokens.extend(quote! {
            #(#cfgs)*
            const _: () = {
                use #mp::__private as __mp;
                #[allow(unused_imports)]
                use __mp::{ReturnsValue as _, ReturnsResult as _, ReturnsIoResult as _};

                impl #mp::Task for #task {
                    const NAME: &'static str = ::core::concat!(::core::module_path!(), "::", #name);
                    const SIGNATURE: &'static str = #signature;
                    const DOC: &'static str = #documentation;
                    const SCHEMA: u64 = __mp::schema_hash(#hashed);
                    const ARITY: usize = #arity;
                    type Args = (#(#args,)*);
                    type Output = #output;

                    #call
                    fn encode(codec: __mp::Codec, output: #output) -> __mp::Encoded {
                        (&&&__mp::Returns::<#output>::new()).encode(codec, output)
                    }
                    fn append(codec: __mp::Codec, output: #output, into: &mut __mp::Buffer) -> ::core::result::Result<bool, ::std::boxed::Box<__mp::CodecError>> {
                        (&&&__mp::Returns::<#output>::new()).append(codec, output, into)
                    }
                    fn decode(failed: bool, payload: &[u8]) -> ::core::result::Result<#output, __mp::CodecError> {
                        (&&&__mp::Returns::<#output>::new()).decode(failed, payload)
                    }
                }

                #[__mp::linkme::distributed_slice(__mp::TASKS)]
                #[linkme(crate = __mp::linkme)]
                static ENTRY: __mp::TaskEntry = __mp::TaskEntry::of::<#task>();
            };
        });
    }
}

/// The path of the client crate.
pub(crate) fn client_crate() -> TokenStream {
    match crate_name("mpserverd-client") {
        Ok(FoundCrate::Name(name)) => {
            let name = Ident::new(&name, Span::call_site());
            quote!(::#name)
        }
        // Inside the client itself (its own tests and examples) the crate has its real name.
        Ok(FoundCrate::Itself) | Err(_) => quote!(::mpserverd_client),
    }
}

/// Those of the attributes that say whether there is an item at all.
pub(crate) fn cfgs(attributes: &[Attribute]) -> Vec<&Attribute> {
    attributes.iter().filter(|a| a.path().is_ident("cfg")).collect()
}

/// Tokens as a person would write them.
pub(crate) fn text(tokens: &impl ToTokens) -> String {
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

/// The first paragraph of a documentation.
pub(crate) fn documentation(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    });
    lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}
