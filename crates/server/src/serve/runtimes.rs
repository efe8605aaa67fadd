//! Interpreters: found, assembled and resolved.

use super::{Settings, StartFailure, chain, failure, folder::Folder};
use crate::config::RuntimesConfig;
use freehold_catalog::{Catalog, DiscoverOptions, assemble as assemble_trees, discover};
use freehold_control::{ResolvedRuntime, RuntimeCheck};
use std::path::PathBuf;

/// Where interpreters are looked for.
pub fn discover_options(config: &RuntimesConfig) -> DiscoverOptions {
    let path = std::env::var_os("PATH").unwrap_or_default();
    DiscoverOptions {
        path: std::env::split_paths(&path).collect(),
        homes: std::env::var_os("HOME")
            .map(PathBuf::from)
            .into_iter()
            .collect(),
        java_home: std::env::var_os("JAVA_HOME").map(PathBuf::from),
        overrides: config.paths.clone(),
    }
}

/// Finds and assembles; what did not change since the last start costs a `stat` per file.
pub(crate) fn assemble(settings: &Settings, folder: &Folder) -> Result<Catalog, StartFailure> {
    let found = discover(&discover_options(&settings.config.runtimes));
    assemble_trees(&found, folder.path()).map_err(|error| {
        failure(
            format!("the runtimes cannot be assembled: {}", chain(&error)),
            "`freehold runtimes` says more",
        )
    })
}

/// Answers the control plane.
pub(crate) struct Check {
    pub(crate) catalog: Catalog,
    pub(crate) substitute: bool,
}

impl RuntimeCheck for Check {
    fn resolve(&self, name: &str) -> Result<ResolvedRuntime, String> {
        let found = self
            .catalog
            .resolve(name, self.substitute)
            .map_err(|error| error.to_string())?;
        let asked = name
            .parse()
            .map_err(|error: freehold_domain::NameError| error.to_string())?;
        Ok(ResolvedRuntime {
            name: asked,
            substitute: found.is_substitute.then(|| found.row.name.clone()),
        })
    }
}
