//! The expansion of `#[remote]`.

use crate::registration::{cfgs, client_crate};
use crate::task::owned;
use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::{
    Attribute, Error, FnArg, GenericArgument, ImplItem, ImplItemFn, ItemImpl, Meta, Pat,
    PathArguments, ReturnType, Type, Visibility, parse_quote,
};

/// What a function of the block is to callers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Gives the object.
    Makes,
    /// Gives the object, or an error.
    MayMake,
    /// Takes `&self`.
    Reads,
    /// Takes `&mut self`.
    Writes,
}

/// A function that is exposed.
struct Exposed<'a> {
    function: &'a ImplItemFn,
    role: Role,
    names: Vec<Ident>,
    shown: Vec<Type>,
    owned: Vec<Type>,
    by_ref: Vec<bool>,
    output: Type,
}

pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    if !attribute.is_empty() {
        return Err(Error::new_spanned(attribute, "`#[remote]` takes no arguments"));
    }
    let block: ItemImpl = syn::parse2(item)?;
    let name = type_name(&block)?;
    let mut exposed = Vec::new();
    for item in &block.items {
        if let ImplItem::Fn(function) = item
            && matches!(function.vis, Visibility::Public(_))
            && let Some(found) = expose(function, &name)?
        {
            exposed.push(found);
        }
    }
    if !exposed.iter().any(|one| matches!(one.role, Role::Makes | Role::MayMake)) {
        let message = "nothing public in it gives a `Self`: a proxy could not be made";
        return Err(Error::new_spanned(&block.self_ty, message));
    }
    let server = server_side(&name, &exposed);
    let client = client_side(&name, &exposed);
    Ok(quote! {
        // What is exposed is `pub`, whoever can name the type.
        #[allow(unreachable_pub)]
        #block
        #client
        #server
    })
}

fn type_name(block: &ItemImpl) -> syn::Result<Ident> {
    let refuse =
        |tokens: &dyn ToTokens, what: &str| Err(Error::new_spanned(tokens.to_token_stream(), what));
    if let Some((_, path, _)) = &block.trait_ {
        return refuse(path, "`#[remote]` stands on an `impl` of the type itself, not of a trait");
    }
    if !block.generics.params.is_empty() {
        return refuse(&block.generics, "a remote type cannot be generic: it has one name");
    }
    match &*block.self_ty {
        Type::Path(path) if path.qself.is_none() => match path.path.get_ident() {
            Some(name) => Ok(name.clone()),
            None => refuse(path, "a remote type is named here as where it is defined"),
        },
        other => refuse(other, "a remote type has a name"),
    }
}

fn expose<'a>(function: &'a ImplItemFn, name: &Ident) -> syn::Result<Option<Exposed<'a>>> {
    let sig = &function.sig;
    let output: Type = match &sig.output {
        ReturnType::Default => parse_quote!(()),
        ReturnType::Type(_, ty) => (**ty).clone(),
    };
    let role = match sig.receiver() {
        None if is_own(&output, name) => Role::Makes,
        None if made_or_error(&output, name) => Role::MayMake,
        // Not about an object.
        None => return Ok(None),
        Some(receiver) if receiver.reference.is_none() => {
            let message = "a public method of a remote type takes `&self` or `&mut self`: the \
                           object stays in the server";
            return Err(Error::new_spanned(receiver, message));
        }
        Some(receiver) if receiver.mutability.is_some() => Role::Writes,
        Some(_) => Role::Reads,
    };
    if sig.asyncness.is_some() || sig.unsafety.is_some() || !sig.generics.params.is_empty() {
        let message = "a public function of a remote type cannot be async, unsafe or generic: \
                       another process calls it by name";
        return Err(Error::new_spanned(sig, message));
    }
    let mut exposed = Exposed {
        function,
        role,
        names: Vec::new(),
        shown: Vec::new(),
        owned: Vec::new(),
        by_ref: Vec::new(),
        output,
    };
    for input in &sig.inputs {
        let FnArg::Typed(input) = input else { continue };
        let Pat::Ident(pattern) = &*input.pat else {
            return Err(Error::new_spanned(&input.pat, "an argument needs a plain name here"));
        };
        let (owned, by_ref) = owned(&input.ty)?;
        exposed.names.push(pattern.ident.clone());
        exposed.shown.push((*input.ty).clone());
        exposed.owned.push(owned);
        exposed.by_ref.push(by_ref);
    }
    if exposed.names.len() > 12 {
        let message = "at most 12 arguments can be passed on; put them in a struct";
        return Err(Error::new_spanned(&sig.inputs, message));
    }
    Ok(Some(exposed))
}

fn is_own(ty: &Type, name: &Ident) -> bool {
    matches!(ty, Type::Path(path) if path.path.is_ident("Self") || path.path.is_ident(name))
}

/// Whether it is a `Result` of the type.
fn made_or_error(ty: &Type, name: &Ident) -> bool {
    let Type::Path(path) = ty else { return false };
    let Some(last) = path.path.segments.last() else { return false };
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return false };
    let first = arguments.args.first();
    last.ident == "Result"
        && matches!(first, Some(GenericArgument::Type(first)) if is_own(first, name))
}

/// What a call of that name does in the server.
fn arm(one: &Exposed<'_>) -> TokenStream {
    let (function, names, owned) = (&one.function.sig.ident, &one.names, &one.owned);
    let (cfgs, text, output) = (cfgs(&one.function.attrs), function.to_string(), &one.output);
    let passed = names.iter().zip(&one.by_ref).map(|(name, by_ref)| match by_ref {
        true => quote!(&#name),
        false => quote!(#name),
    });
    let run = match one.role {
        Role::Makes => quote!(::core::result::Result::Ok(Self::#function(#(#passed),*))),
        Role::MayMake => quote!(__mp::remote::constructed(Self::#function(#(#passed),*))),
        Role::Reads => quote! {
            __mp::remote::read(this, |this| Self::#function(this #(, #passed)*))
        },
        Role::Writes => quote! {
            __mp::remote::write(this, |this| Self::#function(this #(, #passed)*))
        },
    };
    let done = match one.role {
        Role::Makes | Role::MayMake => run,
        Role::Reads | Role::Writes => quote! {
            let output = #run?;
            __mp::remote::returned(
                (&&&__mp::Returns::<#output>::new()).encode(__mp::Codec::Bincode, output),
            )
        },
    };
    quote! {
        #(#cfgs)* #text => {
            let (#(#names,)*) = __mp::remote::arguments::<(#(#owned,)*)>(args)?;
            #done
        }
    }
}

/// The implementation of `Remote`.
fn server_side(name: &Ident, exposed: &[Exposed<'_>]) -> TokenStream {
    let mp = client_crate();
    let called = exposed.iter().map(|one| one.function.sig.ident.to_string());
    let makes = |one: &&Exposed<'_>| matches!(one.role, Role::Makes | Role::MayMake);
    let constructors = exposed.iter().filter(makes).map(arm);
    let methods = exposed.iter().filter(|one| !makes(one)).map(arm);
    quote! {
        const _: () = {
            use #mp::__private as __mp;
            #[allow(unused_imports)]
            use __mp::{ReturnsValue as _, ReturnsResult as _, ReturnsIoResult as _};

            impl #mp::Remote for #name {
                const NAME: &'static str =
                    ::core::concat!(::core::module_path!(), "::", ::core::stringify!(#name));
                const METHODS: &'static [&'static str] = &[#(#called),*];

                fn construct(
                    constructor: &str,
                    args: &[u8],
                ) -> ::core::result::Result<Self, __mp::remote::CallError> {
                    match constructor {
                        #(#constructors)*
                        _ => ::core::result::Result::Err(__mp::remote::CallError::Unknown),
                    }
                }

                fn call(
                    this: &::std::sync::RwLock<Self>,
                    method: &str,
                    args: &[u8],
                ) -> ::core::result::Result<::std::vec::Vec<u8>, __mp::remote::CallError> {
                    let _ = (this, args);
                    match method {
                        #(#methods)*
                        _ => ::core::result::Result::Err(__mp::remote::CallError::Unknown),
                    }
                }
            }

            #[__mp::linkme::distributed_slice(__mp::remote::TYPES)]
            #[linkme(crate = __mp::linkme)]
            static ENTRY: __mp::remote::TypeEntry = __mp::remote::TypeEntry::of::<#name>();
        };
    }
}

/// The proxy.
fn client_side(name: &Ident, exposed: &[Exposed<'_>]) -> TokenStream {
    let mp = client_crate();
    let proxy = format_ident!("{name}Proxy");
    let functions = exposed.iter().map(|one| client_function(name, one));
    let doc = format!("A proxy of a [`{name}`] in a manager's server.");
    quote! {
        #mp::__proxy! {
            #[doc = #doc]
            #[allow(unreachable_pub)]
            #proxy, <#name as #mp::Remote>::NAME
        }

        #[allow(dead_code, unreachable_pub, private_interfaces, clippy::new_ret_no_self)]
        impl #proxy {
            #(#functions)*
        }

        impl #mp::RemoteObject for #proxy {}
    }
}

fn client_function(name: &Ident, one: &Exposed<'_>) -> TokenStream {
    let mp = client_crate();
    let (function, names, shown) = (&one.function.sig.ident, &one.names, &one.shown);
    let cfgs = cfgs(&one.function.attrs);
    let is_doc = |attribute: &&Attribute| match &attribute.meta {
        Meta::NameValue(pair) => pair.path.is_ident("doc"),
        _ => false,
    };
    let docs = one.function.attrs.iter().filter(is_doc).collect::<Vec<_>>();
    let first = docs.is_empty().then(|| format!("[`{name}::{function}`], in the server."));
    let first = first.map(|text| quote!(#[doc = #text]));
    let errors = quote! {
        #[doc = ""]
        #[doc = "# Errors"]
        #[doc = "`ManagerError`: why the call did not come to a result."]
    };
    let text = function.to_string();
    let arguments = quote!(&(#(&#names,)*));
    let output = &one.output;
    match one.role {
        Role::Makes | Role::MayMake => quote! {
            #(#cfgs)* #first #(#docs)* #errors
            pub fn #function(
                manager: &#mp::ConnectedManager
                #(, #names: #shown)*
            ) -> ::core::result::Result<Self, #mp::ManagerError> {
                let made = #mp::__private::remote::create::<#name>(manager, #text, #arguments)?;
                ::core::result::Result::Ok(<Self as #mp::Proxy>::from_handle(made))
            }
        },
        Role::Reads | Role::Writes => quote! {
            #(#cfgs)* #first #(#docs)* #errors
            pub fn #function(
                &self
                #(, #names: #shown)*
            ) -> ::core::result::Result<#output, #mp::ManagerError> {
                #[allow(unused_imports)]
                use #mp::__private::{ReturnsValue as _, ReturnsResult as _, ReturnsIoResult as _};
                let decode = |failed: bool, bytes: &[u8]| {
                    (&&&#mp::__private::Returns::<#output>::new()).decode(#mp::__private::Codec::Bincode, failed, bytes)
                };
                #mp::__private::remote::call(
                    <Self as #mp::Proxy>::handle(self),
                    Self::NAME,
                    #text,
                    #arguments,
                    decode,
                )
            }
        },
    }
}
