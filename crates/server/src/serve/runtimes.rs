//! Interpreters: found, assembled and resolved.

use super::{Settings, StartFailure, chain, failure, folder::Folder};
use freehold_catalog::{Catalog, DiscoverOptions, ToolEnvironment, is_changing};
use freehold_control::{ResolvedRuntime, RuntimeCheck};
use freehold_domain::{
    BoxFuture, TenantId,
    ports::{CodeError, GuestCode, InProcess, Packages},
    record::RevisionSpecV1,
    runtime::WASM_RUNTIME,
};
use freehold_wasm::WasmHost;
use std::{collections::BTreeMap, path::PathBuf, process::Stdio, sync::Arc};

/// Where interpreters are looked for, those at `overrides` first.
pub fn discover_options(overrides: &BTreeMap<String, PathBuf>) -> DiscoverOptions {
    let path = std::env::var_os("PATH").unwrap_or_default();
    DiscoverOptions {
        path: std::env::split_paths(&path).collect(),
        homes: std::env::var_os("HOME")
            .map(PathBuf::from)
            .into_iter()
            .collect(),
        java_home: std::env::var_os("JAVA_HOME").map(PathBuf::from),
        overrides: overrides.clone(),
        tools: ToolEnvironment::of(std::env::vars_os()),
    }
}

/// Finds and assembles; what did not change since the last start costs a `stat` per file.
///
/// In a process of its own, `freehold runtimes assemble`: a first start copies and hashes a
/// gigabyte, and what that takes from the heap would stay with the server for its whole life
/// (measured: 32 MiB).
pub(crate) fn assemble(settings: &Settings, folder: &Folder) -> Result<Catalog, StartFailure> {
    if !folder.runtime_table().exists() {
        eprintln!(
            "freehold: assembling this machine's runtimes; the first start takes some seconds"
        );
    }
    if is_changing(folder.path()) {
        eprintln!(
            "freehold: another process changes the runtimes of {}; the start waits for it",
            folder.path().display()
        );
    }
    let says_more = "`freehold runtimes` says more";
    let mut child = std::process::Command::new("/proc/self/exe");
    child
        .args(["runtimes", "assemble", "--data"])
        .arg(folder.path());
    child.args(settings.given.arguments());
    let done = child
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .map_err(|error| {
            failure(
                format!("the runtimes cannot be assembled: {error}"),
                says_more,
            )
        })?;
    if !done.status.success() {
        let text = String::from_utf8_lossy(&done.stderr);
        return Err(failure(
            format!("the runtimes cannot be assembled: {}", text.trim()),
            says_more,
        ));
    }
    Catalog::load(folder.path()).map_err(|error| {
        failure(
            format!("the runtimes cannot be read: {}", chain(&error)),
            says_more,
        )
    })
}

/// Says which runtimes cannot be used, and why: nobody else would until a function wants one.
pub(crate) fn tell_missing(catalog: &Catalog) {
    for problem in catalog.problems() {
        let path = catalog.passed_over().iter().find_map(|one| {
            let is_it = one.configured_for.as_deref() == Some(&problem.about);
            is_it.then(|| one.path.display().to_string())
        });
        tracing::warn!(
            runtime = problem.about,
            reason = problem.reason,
            remedy = problem.remedy,
            path,
            "this runtime cannot be used"
        );
    }
}

/// Answers the control plane.
pub(crate) struct Check {
    pub(crate) catalog: Catalog,
    pub(crate) substitute: bool,
    /// What runs WebAssembly, or why nothing does.
    pub(crate) wasm: Result<Arc<WasmHost>, String>,
    pub(crate) packages: Arc<dyn Packages>,
}

impl RuntimeCheck for Check {
    fn resolve(&self, name: &str) -> Result<ResolvedRuntime, String> {
        if name == WASM_RUNTIME {
            self.wasm.as_ref().map_err(Clone::clone)?;
            return Ok(ResolvedRuntime {
                name: name.parse().expect("a name of ours is one"),
                substitute: None,
            });
        }
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

    fn judge(
        &self,
        tenant: &TenantId,
        spec: &RevisionSpecV1,
    ) -> BoxFuture<'_, Result<(), CodeError>> {
        let (tenant, spec) = (tenant.clone(), spec.clone());
        Box::pin(async move {
            let is_wasm = spec.runtime.as_str() == WASM_RUNTIME;
            let (true, Ok(host)) = (is_wasm, &self.wasm) else {
                return Ok(());
            };
            let package = spec.package.digest;
            let opened = self.packages.open(&tenant, package).await;
            let tree = opened.map_err(|error| CodeError::Failed {
                reason: error.to_string(),
                is_busy: false,
            })?;
            let code = GuestCode {
                tenant,
                package,
                tree,
                file: spec.handler.unwrap_or_default(),
            };
            host.prepare(code, spec.memory).await
        })
    }
}
