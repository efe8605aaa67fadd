//! Profiles of `~/.aws/credentials` and `~/.aws/config`, as AWS's tools write them.
//!
//! Read: static keys, session token, region, `endpoint_url`. Not followed: roles to assume,
//! single sign-on and credential processes, which need other services; a profile that has only
//! those has no keys, and the caller says so.

use std::collections::BTreeMap;

/// What a profile says.
#[derive(Default, Clone, PartialEq, Eq)]
pub struct Profile {
    /// `aws_access_key_id`.
    pub access_key_id: Option<String>,
    /// `aws_secret_access_key`.
    pub secret: Option<String>,
    /// `aws_session_token`.
    pub token: Option<String>,
    /// `region`.
    pub region: Option<String>,
    /// `endpoint_url`.
    pub endpoint: Option<String>,
}

/// Finds `name` in the texts of both files; `None` if neither has it.
///
/// The credentials file wins where both have a key, as in AWS's tools.
pub fn find(name: &str, credentials: &str, config: &str) -> Option<Profile> {
    let keys = section(credentials, |header| header == name);
    let rest = section(config, |header| {
        let named = header.strip_prefix("profile").map(str::trim);
        named == Some(name) || (name == "default" && header == "default")
    });
    if keys.is_none() && rest.is_none() {
        return None;
    }
    let (keys, rest) = (keys.unwrap_or_default(), rest.unwrap_or_default());
    let get = |setting: &str| {
        let value = keys.get(setting).or_else(|| rest.get(setting))?;
        Some(value.clone()).filter(|value| !value.is_empty())
    };
    Some(Profile {
        access_key_id: get("aws_access_key_id"),
        secret: get("aws_secret_access_key"),
        token: get("aws_session_token"),
        region: get("region"),
        endpoint: get("endpoint_url"),
    })
}

/// The settings below every header that `wanted` accepts. Indented lines belong to the setting
/// above them (`s3 =` and its own settings) and are left out.
fn section(text: &str, wanted: impl Fn(&str) -> bool) -> Option<BTreeMap<String, String>> {
    let mut found: Option<BTreeMap<String, String>> = None;
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with([' ', '\t']) {
            continue;
        }
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            let header = header.split(']').next().unwrap_or(header).trim();
            inside = wanted(&header.replace(['"', '\''], ""));
            if inside {
                found.get_or_insert_default();
            }
        } else if inside && let Some((key, value)) = line.split_once('=') {
            let value = value.split(" #").next().unwrap_or(value).trim();
            found
                .get_or_insert_default()
                .insert(key.trim().to_ascii_lowercase(), value.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "# mine\n[default]\naws_access_key_id = A\naws_secret_access_key=s1=x\n\n[ other ]\naws_access_key_id=B\n";
    const CONFIG: &str = "[default]\nregion = eu-west-1\n[profile other]\nregion = us-west-2 # far\nendpoint_url = http://h:1\ns3 =\n  region = nested\n[other]\nregion = wrong\n";

    #[test]
    fn both_files_make_one_profile() {
        let default = find("default", CREDENTIALS, CONFIG).unwrap();
        assert_eq!(default.access_key_id.as_deref(), Some("A"));
        assert_eq!(default.secret.as_deref(), Some("s1=x"));
        assert_eq!(default.region.as_deref(), Some("eu-west-1"));
        let other = find("other", CREDENTIALS, CONFIG).unwrap();
        assert_eq!(other.access_key_id.as_deref(), Some("B"));
        assert_eq!(other.secret, None);
        assert_eq!(other.region.as_deref(), Some("us-west-2"));
        assert_eq!(other.endpoint.as_deref(), Some("http://h:1"));
        assert!(find("none", CREDENTIALS, CONFIG).is_none());
    }
}
