//! The arrows of the map: which crate may depend on which, and on which outside families.
//!
//! Read from the manifests, since an unused dependency is an arrow too.

use super::Finding;

/// What a crate of the workspace may depend on. A crate without a row is itself a finding.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("identity", &["domain"]),
    ("wire", &["domain"]),
    ("engine", &["domain"]),
    ("contracts", &["domain"]),
    ("sandbox", &["domain"]),
    ("wasm", &["domain"]),
    ("storage", &["domain"]),
    ("catalog", &["domain"]),
    ("control", &["domain"]),
    ("flow", &["domain"]),
    ("egress", &["domain"]),
    ("api", &["domain", "control", "flow", "identity", "wire"]),
    ("testkit", &["domain"]),
    (
        "server",
        &[
            "domain",
            "identity",
            "wire",
            "engine",
            "contracts",
            "sandbox",
            "wasm",
            "storage",
            "catalog",
            "control",
            "flow",
            "egress",
            "api",
        ],
    ),
    ("xtask", &[]),
];

/// Outside crates that say too much about a crate's neighbours: family, its members, and the
/// crates of ours that may use it.
const FAMILIES: &[(&str, &[&str], &[&str])] = &[
    (
        "HTTP",
        &["hyper", "hyper-util", "axum", "reqwest"],
        &["api", "contracts", "server", "testkit"],
    ),
    ("SQLite", &["rusqlite"], &["storage"]),
    (
        "PostgreSQL",
        &["tokio-postgres", "deadpool-postgres"],
        &["storage"],
    ),
    (
        "an async runtime",
        &["tokio"],
        &[
            "engine",
            "contracts",
            "sandbox",
            "wasm",
            "storage",
            "control",
            "flow",
            "egress",
            "api",
            "server",
            "testkit",
        ],
    ),
];

/// Checks the manifest of the crate in the folder `crate_name`.
pub fn check(crate_name: &str, manifest: &toml::Table) -> Vec<Finding> {
    let place = format!("{crate_name}/Cargo.toml");
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == crate_name) else {
        let text =
            format!("`{crate_name}` has no row in the map: add it to ARROWS with its arrows");
        return vec![Finding {
            rule: "arrows",
            place,
            text,
        }];
    };
    let mut findings = Vec::new();
    for (section, dependency) in dependencies(manifest) {
        let is_dev = section == "dev-dependencies";
        if let Some(ours) = dependency.strip_prefix("freehold-") {
            let may = allowed.contains(&ours) || (is_dev && ours == "testkit");
            if !may {
                let text = format!("[{section}] {crate_name} → {ours} is no arrow of the map");
                findings.push(Finding {
                    rule: "arrows",
                    place: place.clone(),
                    text,
                });
            }
        }
        if is_dev || crate_name == "xtask" {
            continue;
        }
        for (family, members, may) in FAMILIES {
            if members.contains(&dependency) && !may.contains(&crate_name) {
                let text = format!("[{section}] `{dependency}`: {crate_name} knows no {family}");
                findings.push(Finding {
                    rule: "arrows",
                    place: place.clone(),
                    text,
                });
            }
        }
    }
    findings
}

/// Every (section, dependency) of a manifest, those behind a target among them.
fn dependencies(manifest: &toml::Table) -> Vec<(&str, &str)> {
    const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = manifest
        .get("target")
        .and_then(toml::Value::as_table)
        .into_iter()
        .flat_map(|targets| targets.values().filter_map(toml::Value::as_table));
    let mut found = Vec::new();
    for table in std::iter::once(manifest).chain(targets) {
        for section in SECTIONS {
            let names = table.get(section).and_then(toml::Value::as_table);
            found.extend(
                names
                    .into_iter()
                    .flat_map(|t| t.iter())
                    .map(|(name, value)| {
                        // `alias = { package = "real" }` is an arrow to the real name.
                        let real = value.get("package").and_then(toml::Value::as_str);
                        (section, real.unwrap_or(name.as_str()))
                    }),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_count(crate_name: &str, manifest: &str, findings: usize) {
        let manifest = manifest.parse().expect("a manifest of the test");
        let found = check(crate_name, &manifest);
        assert_eq!(found.len(), findings, "{crate_name}: {found:?}");
    }

    #[test]
    fn an_arrow_of_the_map_passes() {
        check_count(
            "api",
            "[dependencies]\nfreehold-control.workspace = true",
            0,
        );
        check_count(
            "engine",
            "[dev-dependencies]\nfreehold-testkit.workspace = true",
            0,
        );
    }

    #[test]
    fn an_arrow_that_is_not_on_the_map_is_found() {
        check_count(
            "engine",
            "[dependencies]\nfreehold-storage.workspace = true",
            1,
        );
        check_count(
            "control",
            "[dependencies]\nfreehold-engine.workspace = true",
            1,
        );
        check_count(
            "domain",
            "[build-dependencies]\nfreehold-wire.workspace = true",
            1,
        );
        check_count(
            "server",
            "[dependencies]\nfreehold-testkit.workspace = true",
            1,
        );
    }

    #[test]
    fn an_arrow_behind_another_name_or_a_target_is_found() {
        check_count(
            "flow",
            "[dependencies]\nx = { package = \"freehold-engine\", path = \"\" }",
            1,
        );
        check_count(
            "flow",
            "[target.'cfg(unix)'.dependencies]\nfreehold-engine.workspace = true",
            1,
        );
    }

    #[test]
    fn an_outside_family_stays_in_its_crates() {
        check_count("engine", "[dependencies]\nhyper.workspace = true", 1);
        check_count("control", "[dependencies]\nrusqlite.workspace = true", 1);
        check_count("domain", "[dependencies]\ntokio.workspace = true", 1);
        check_count("storage", "[dependencies]\nrusqlite.workspace = true", 0);
        check_count("domain", "[dev-dependencies]\ntokio.workspace = true", 0);
    }

    #[test]
    fn a_crate_without_a_row_is_found() {
        check_count("surprise", "", 1);
    }
}
