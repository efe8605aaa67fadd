//! How programs of the machine are run: package managers, compilers, interpreters that are asked for
//! their version. They, and what they fetch and execute, see variables that are known to be
//! harmless and no other: no key of AWS, no token, nothing that this shell happened to carry.

use std::{
    ffi::{OsStr, OsString},
    process::{Command, Stdio},
};

/// Variables that tools may see. A name that is not here is not passed on.
const ALLOWED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "TZ",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "CURL_CA_BUNDLE",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "PIP_NO_INDEX",
    "PIP_TRUSTED_HOST",
    "PIP_CONFIG_FILE",
    "PIP_CACHE_DIR",
    "PIP_CERT",
    "PYENV_ROOT",
    "PYENV_VERSION",
    "npm_config_registry",
    "NPM_CONFIG_REGISTRY",
    "npm_config_cache",
    "NPM_CONFIG_CACHE",
    "NPM_CONFIG_USERCONFIG",
    "NVM_DIR",
    "JAVA_HOME",
    "MAVEN_HOME",
    "M2_HOME",
    "MAVEN_OPTS",
    "MAVEN_ARGS",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "RUSTC",
    "GOROOT",
    "GOPATH",
    "GOCACHE",
    "GOMODCACHE",
    "GOPROXY",
    "GONOSUMDB",
    "GONOSUMCHECK",
    "GOSUMDB",
    "GOFLAGS",
    "GOTOOLCHAIN",
];

/// What tools see of an environment.
#[derive(Debug, Clone, Default)]
pub struct ToolEnvironment(Vec<(OsString, OsString)>);

impl ToolEnvironment {
    /// The allowed ones of these variables.
    pub fn of(all: impl Iterator<Item = (OsString, OsString)>) -> Self {
        Self(allowed(all))
    }

    /// A program that is to be run with them alone, and nothing to read.
    pub fn tool(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .stdin(Stdio::null())
            .env_clear()
            .envs(self.0.iter().map(|(name, value)| (name, value)));
        // Not even the files of keys are found where a tool would look for them.
        command
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env("AWS_CONFIG_FILE", "/dev/null");
        command
    }
}

fn allowed(all: impl Iterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
    all.filter(|(name, _)| {
        let name = name.to_string_lossy();
        ALLOWED.contains(&name.as_ref()) || name.starts_with("LC_")
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_see_no_variable_that_is_not_known() {
        let all = [
            "PATH",
            "LC_ALL",
            "AWS_SECRET_ACCESS_KEY",
            "GITHUB_TOKEN",
            "NPM_TOKEN",
            "PATHS",
        ];
        let seen = allowed(
            all.iter()
                .map(|name| (OsString::from(name), OsString::from("x"))),
        );
        let names: Vec<_> = seen
            .iter()
            .map(|(name, _)| name.to_str().unwrap())
            .collect();
        assert_eq!(names, ["PATH", "LC_ALL"]);
    }

    /// `CARGO_MANIFEST_DIR` is in this process's environment, and is not on the list.
    #[test]
    fn a_tool_has_the_environment_that_is_left() {
        let own = ToolEnvironment::of(std::env::vars_os());
        let seen = own.tool("env").output().unwrap();
        let seen = String::from_utf8(seen.stdout).unwrap();
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        assert!(!seen.contains("CARGO_MANIFEST_DIR="), "{seen}");
        assert!(seen.contains("PATH="), "{seen}");
        assert!(seen.contains("AWS_CONFIG_FILE=/dev/null"), "{seen}");
    }
}
