//! What pools are built from, to the next image of the daemon: the opened programs above all, which
//! may have no path any more.

use super::{Recipe, Recipes};
use crate::core::{PoolKey, PoolSpec};
use crate::server::owners::Account;
use crate::server::upgrade::image::{Carrier, Fd, Luggage};
use crate::state::StateError;
use mpserverd_proto::error::PreloadError;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;

/// How a template process is started.
#[derive(Debug, Serialize, Deserialize)]
struct RecipeRow {
    key: PoolKey,
    name: String,
    executable: Option<Result<Fd, PreloadError>>,
    modules: Vec<String>,
    environment: Option<ByteBuf>,
    account: Option<Account>,
}

/// All recipes.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::server) struct RecipesRow {
    recipes: Vec<RecipeRow>,
    default: Option<PoolSpec>,
    #[serde(with = "crate::state::paths")]
    default_files: Vec<PathBuf>,
}

impl Recipes {
    pub(in crate::server) fn carry<'a>(&'a self, to: &mut Carrier<'a>) -> RecipesRow {
        let mut row = |(key, recipe): (&PoolKey, &'a Recipe)| RecipeRow {
            key: key.clone(),
            name: recipe.name.clone(),
            executable: recipe.executable.as_ref().map(|executable| match executable {
                Ok(program) => Ok(to.fd(program.as_fd())),
                Err(error) => Err(error.clone()),
            }),
            modules: recipe.modules.clone(),
            environment: recipe.environment.clone().map(ByteBuf::from),
            account: recipe.account.clone(),
        };
        RecipesRow {
            recipes: self.by_key.iter().map(&mut row).collect(),
            default: self.default.clone(),
            default_files: self.default_files.clone(),
        }
    }

    pub(in crate::server) fn from_row(
        own: u32,
        row: RecipesRow,
        from: &mut Luggage,
    ) -> Result<Self, StateError> {
        let recipes = row.recipes.into_iter().map(|recipe| {
            let executable = match recipe.executable {
                Some(Ok(program)) => Some(Ok(Arc::new(from.fd(program)?))),
                Some(Err(error)) => Some(Err(error)),
                None => None,
            };
            let environment = recipe.environment.map(ByteBuf::into_vec);
            let (name, modules) = (recipe.name, recipe.modules);
            let account = recipe.account;
            Ok((recipe.key, Recipe { name, executable, modules, environment, account }))
        });
        let by_key = recipes.collect::<Result<_, StateError>>()?;
        Ok(Self { own, by_key, default: row.default, default_files: row.default_files })
    }
}
