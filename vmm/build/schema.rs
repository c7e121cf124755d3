//! How the state of a machine is laid out, as a fingerprint of the source.
//!
//! A snapshot is a machine's structs one after the other, without names. It can be read by a build whose structs are the same, and by
//! no other; no number that somebody has to remember to raise says so reliably. What counts is every type that derives serde's
//! traits, every implementation by hand, and the constants and aliases that these name; comments and code do not.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, Item};

/// What the sources define.
#[derive(Default)]
pub struct Schema {
    /// Types and implementations, as normalized text.
    layouts: BTreeSet<String>,
    /// Constants and aliases by name.
    named: BTreeMap<String, BTreeSet<String>>,
}

impl Schema {
    /// Adds what a source file defines.
    pub fn add(&mut self, source: &str) -> syn::Result<()> {
        self.add_items(syn::parse_file(source)?.items);
        Ok(())
    }

    fn add_items(&mut self, items: Vec<Item>) {
        for item in items {
            let (counts, name) = match &item {
                Item::Struct(item) => (derives(&item.attrs), None),
                Item::Enum(item) => (derives(&item.attrs), None),
                Item::Impl(item) => {
                    let by_hand = item.trait_.as_ref().and_then(|(_, path, _)| path.segments.last());
                    (by_hand.is_some_and(|last| is_serde(&last.ident.to_string())), None)
                }
                // bitflags, and whatever else makes types.
                Item::Macro(item) => (words(&item.mac.tokens).iter().any(|word| is_serde(word)), None),
                Item::Const(item) => (false, Some(item.ident.to_string())),
                Item::Type(item) => (false, Some(item.ident.to_string())),
                _ => (false, None),
            };
            let is_test = matches!(&item, Item::Mod(module) if module.ident == "tests");
            let text = || without_docs(item.to_token_stream()).to_string();
            if counts {
                self.layouts.insert(text());
            } else if let Some(name) = name {
                self.named.entry(name).or_default().insert(text());
            } else if let (Item::Mod(module), false) = (item, is_test)
                && let Some((_, items)) = module.content
            {
                self.add_items(items);
            }
        }
    }

    /// Everything that counts, in a fixed order.
    pub fn text(&self) -> String {
        let mut texts = self.layouts.clone();
        let mut new: Vec<String> = texts.iter().cloned().collect();
        while let Some(text) = new.pop() {
            let words = text.parse().map(|tokens| words(&tokens)).unwrap_or_default();
            for found in words.iter().filter_map(|word| self.named.get(word)).flatten() {
                if texts.insert(found.clone()) {
                    new.push(found.clone());
                }
            }
        }
        texts.into_iter().collect::<Vec<_>>().join("\n")
    }
}

fn is_serde(word: &str) -> bool {
    word == "Serialize" || word == "Deserialize"
}

fn derives(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("derive")
            && words(&attribute.to_token_stream()).iter().any(|word| is_serde(word))
    })
}

/// All identifiers.
fn words(tokens: &TokenStream) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for token in tokens.clone() {
        match token {
            TokenTree::Ident(word) => {
                found.insert(word.to_string());
            }
            TokenTree::Group(group) => found.extend(words(&group.stream())),
            _ => {}
        }
    }
    found
}

/// Without `#[doc = ...]`, which comments are by now.
fn without_docs(tokens: TokenStream) -> TokenStream {
    let mut kept: Vec<TokenTree> = Vec::new();
    for token in tokens {
        let TokenTree::Group(group) = token else {
            kept.push(token);
            continue;
        };
        let is_doc =
            matches!(group.stream().into_iter().next(), Some(TokenTree::Ident(word)) if word == "doc");
        let after_hash = matches!(kept.last(), Some(TokenTree::Punct(hash)) if hash.as_char() == '#');
        if is_doc && after_hash {
            kept.pop();
        } else {
            let inner = without_docs(group.stream());
            kept.push(proc_macro2::Group::new(group.delimiter(), inner).into());
        }
    }
    kept.into_iter().collect()
}
