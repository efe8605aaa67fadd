//! Which server, key and region a command uses.
//!
//! ```text
//! endpoint  --endpoint, AWS_ENDPOINT_URL_LAMBDA, AWS_ENDPOINT_URL, the profile's endpoint_url,
//!           else the server whose data folder is on this machine, with its root key
//! keys      --profile, AWS_ACCESS_KEY_ID …, AWS_PROFILE or the default profile, the local root key
//! region    --region, AWS_REGION, AWS_DEFAULT_REGION, the profile's, the local server's, us-east-1
//! trust     --fingerprint, the local server's certificate, AWS_CA_BUNDLE, what the system trusts
//! ```
//!
//! Without an endpoint nothing is ever sent to AWS, whatever keys the environment holds: then the
//! local server's own key and region are used, since no other key can be meant.

use super::{Client, ClientError, Endpoint, local, profile, trust::Trust, waits::Waits};
use crate::serve::{Fingerprint, default_data_dir};
use freehold_identity::sigv4::Credentials;
use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// Options of the command line.
#[derive(Debug, Default, Clone)]
pub struct Choice {
    /// `--endpoint`.
    pub endpoint: Option<String>,
    /// `--region`.
    pub region: Option<String>,
    /// `--profile`.
    pub profile: Option<String>,
    /// `--data`.
    pub data: Option<PathBuf>,
    /// `--fingerprint`.
    pub fingerprint: Option<String>,
}

type Variables = Box<dyn Fn(&str) -> Option<String>>;

/// The process's environment, as a value so that tests have their own.
pub struct Environment {
    variables: Variables,
}

impl Environment {
    /// The real one.
    pub fn of_process() -> Self {
        Self {
            variables: Box::new(|name| std::env::var(name).ok()),
        }
    }

    fn get(&self, name: &str) -> Option<String> {
        (self.variables)(name).filter(|value| !value.is_empty())
    }

    fn aws_file(&self, variable: &str, name: &str) -> Option<PathBuf> {
        match self.get(variable) {
            Some(path) => Some(path.into()),
            None => Some(Path::new(&self.get("HOME")?).join(".aws").join(name)),
        }
    }
}

/// What a certificate is believed by that no local server shows.
fn trust_of(choice: &Choice, environment: &Environment) -> Result<Trust, ClientError> {
    if let Some(text) = &choice.fingerprint {
        let known = Fingerprint::parse(text).ok_or_else(|| ClientError::Setting {
            what: format!("--fingerprint {text:?}"),
            reason: "it is no SHA-256: 64 hexadecimal digits, with or without colons".into(),
        })?;
        return Ok(Trust::Known(known));
    }
    let file = environment
        .get("AWS_CA_BUNDLE")
        .or_else(|| environment.get("SSL_CERT_FILE"));
    Ok(Trust::Roots(file.map(PathBuf::from)))
}

/// Puts endpoint, keys and region together.
pub fn resolve(choice: &Choice, environment: &Environment) -> Result<Client, ClientError> {
    let client = put_together(choice, environment)?;
    match &choice.fingerprint {
        Some(text) if !client.endpoint.is_secure() => Err(ClientError::Setting {
            what: format!("--fingerprint {text:?}"),
            reason: format!(
                "{} shows no certificate: name it by https://",
                client.endpoint
            ),
        }),
        _ => Ok(client),
    }
}

fn put_together(choice: &Choice, environment: &Environment) -> Result<Client, ClientError> {
    let trust = trust_of(choice, environment)?;
    let profile = profile_of(choice, environment)?;
    let named = choice
        .endpoint
        .clone()
        .or_else(|| environment.get("AWS_ENDPOINT_URL_LAMBDA"))
        .or_else(|| environment.get("AWS_ENDPOINT_URL"))
        .or_else(|| profile.endpoint.clone());
    let keys = keys_of(choice, environment, &profile)?;
    let data = choice.data.clone().unwrap_or_else(default_data_dir);
    let local = if named.is_none() || keys.is_none() {
        local::find(&data)?
    } else {
        None
    };
    let region = choice
        .region
        .clone()
        .or_else(|| environment.get("AWS_REGION"))
        .or_else(|| environment.get("AWS_DEFAULT_REGION"))
        .or(profile.region);
    match (named, local) {
        (None, None) => Err(ClientError::NoServer { data }),
        (None, Some(local)) => Ok(Client {
            endpoint: Endpoint::parse(&local.listen)?,
            address: local.address,
            trust: match choice.fingerprint {
                Some(_) => trust,
                None => local.trust.unwrap_or(trust),
            },
            region: choice.region.clone().unwrap_or(local.region),
            waits: Waits::default(),
            // A profile that was asked for by name is meant; keys of the environment are AWS's.
            credentials: match keys.filter(|_| choice.profile.is_some()) {
                Some(keys) => keys,
                None => local.credentials,
            },
        }),
        (Some(named), local) => {
            let endpoint = Endpoint::parse(&named)?;
            let same =
                local.filter(|found| Endpoint::parse(&found.listen).ok() == Some(endpoint.clone()));
            let region = region.or_else(|| same.as_ref().map(|local| local.region.clone()));
            let address = same.as_ref().and_then(|local| local.address);
            let shown = same.as_ref().and_then(|local| local.trust.clone());
            let credentials = match (keys, same) {
                (Some(keys), _) => keys,
                (None, Some(local)) => local.credentials,
                (None, None) => {
                    return Err(ClientError::NoKeys {
                        endpoint: endpoint.to_string(),
                    });
                }
            };
            Ok(Client {
                endpoint,
                address,
                trust: match choice.fingerprint {
                    Some(_) => trust,
                    None => shown.unwrap_or(trust),
                },
                credentials,
                region: region.unwrap_or_else(|| "us-east-1".to_owned()),
                waits: Waits::default(),
            })
        }
    }
}

/// Whether the environment, or the profile that it chooses, names a server.
pub fn names_a_server() -> bool {
    let environment = Environment::of_process();
    let of_profile = || profile_of(&Choice::default(), &environment).ok()?.endpoint;
    ["AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL"]
        .iter()
        .any(|name| environment.get(name).is_some())
        || of_profile().is_some()
}

/// The server that serves from `data`, with its root key, whatever the environment names.
///
/// Errors: a file of the data folder that is there and does not read.
pub fn resolve_local(data: &Path) -> Result<Option<Client>, ClientError> {
    let Some(local) = local::find(data)? else {
        return Ok(None);
    };
    Ok(Some(Client {
        endpoint: Endpoint::parse(&local.listen)?,
        address: local.address,
        trust: local.trust.unwrap_or(Trust::Roots(None)),
        credentials: local.credentials,
        region: local.region,
        waits: Waits::default(),
    }))
}

fn keys_of(
    choice: &Choice,
    environment: &Environment,
    profile: &profile::Profile,
) -> Result<Option<Credentials>, ClientError> {
    let from_profile = match (&profile.access_key_id, &profile.secret) {
        (Some(id), Some(secret)) => Some(Credentials {
            access_key_id: id.clone(),
            secret: secret.clone(),
            token: profile.token.clone(),
        }),
        _ => None,
    };
    if let Some(name) = &choice.profile {
        return match from_profile {
            Some(keys) => Ok(Some(keys)),
            None => Err(ClientError::Setting {
                what: format!("the profile {name:?}"),
                reason: "it has no aws_access_key_id and aws_secret_access_key".into(),
            }),
        };
    }
    match (
        environment.get("AWS_ACCESS_KEY_ID"),
        environment.get("AWS_SECRET_ACCESS_KEY"),
    ) {
        (Some(access_key_id), Some(secret)) => Ok(Some(Credentials {
            access_key_id,
            secret,
            token: environment.get("AWS_SESSION_TOKEN"),
        })),
        (Some(_), None) | (None, Some(_)) => Err(ClientError::Setting {
            what: "the environment".into(),
            reason:
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY belong together, and one is missing"
                    .into(),
        }),
        (None, None) => Ok(from_profile),
    }
}

fn profile_of(choice: &Choice, environment: &Environment) -> Result<profile::Profile, ClientError> {
    let asked = choice
        .profile
        .clone()
        .or_else(|| environment.get("AWS_PROFILE"));
    let credentials = text_of(environment.aws_file("AWS_SHARED_CREDENTIALS_FILE", "credentials"))?;
    let config = text_of(environment.aws_file("AWS_CONFIG_FILE", "config"))?;
    let name = asked.as_deref().unwrap_or("default");
    match (profile::find(name, &credentials, &config), asked) {
        (Some(found), _) => Ok(found),
        (None, None) => Ok(profile::Profile::default()),
        (None, Some(name)) => Err(ClientError::NoProfile { name }),
    }
}

fn text_of(path: Option<PathBuf>) -> Result<String, ClientError> {
    let Some(path) = path else {
        return Ok(String::new());
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(String::new())
        }
        Err(source) => Err(ClientError::Unreadable {
            path,
            remedy: "correct its mode, or name another with AWS_SHARED_CREDENTIALS_FILE or AWS_CONFIG_FILE",
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        let pairs: Vec<(String, String)> = pairs
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect();
        Environment {
            variables: Box::new(move |name| {
                let pair = pairs.iter().find(|(key, _)| key == name)?;
                Some(pair.1.clone())
            }),
        }
    }

    fn folder_with_server(listen: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        let endpoint = format!(
            r#"{{"listen":"{listen}","admin":"http://h:2","pid":1,"region":"eu-central-1"}}"#
        );
        std::fs::write(folder.path().join(local::ENDPOINT_FILE), endpoint).unwrap();
        let text =
            r#"{"access_key_id":"AKIAROOT","secret_access_key":"local","account":"000000000001"}"#;
        std::fs::write(folder.path().join(local::KEY_FILE), text).unwrap();
        folder
    }

    #[test]
    fn the_environment_names_a_server_and_signs() {
        let environment = environment(&[
            ("AWS_ENDPOINT_URL", "http://all:1"),
            ("AWS_ENDPOINT_URL_LAMBDA", "http://lambda:1"),
            ("AWS_ACCESS_KEY_ID", "AKIA"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("AWS_SESSION_TOKEN", "t"),
            ("AWS_DEFAULT_REGION", "eu-north-1"),
        ]);
        let client = resolve(&Choice::default(), &environment).unwrap();
        assert_eq!(client.endpoint.to_string(), "http://lambda:1");
        assert_eq!(client.region, "eu-north-1");
        assert_eq!(client.credentials.token.as_deref(), Some("t"));
        let choice = Choice {
            endpoint: Some("http://chosen:1".into()),
            region: Some("us-west-2".into()),
            ..Choice::default()
        };
        let client = resolve(&choice, &environment).unwrap();
        assert_eq!(client.endpoint.to_string(), "http://chosen:1");
        assert_eq!(client.region, "us-west-2");
    }

    #[test]
    fn keys_of_aws_alone_go_nowhere_but_to_the_local_server() {
        let aws = environment(&[
            ("AWS_ACCESS_KEY_ID", "AKIAREAL"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("AWS_REGION", "eu-west-1"),
        ]);
        let empty = tempfile::tempdir().unwrap();
        let choice = Choice {
            data: Some(empty.path().to_owned()),
            ..Choice::default()
        };
        let nothing = resolve(&choice, &aws);
        assert!(matches!(nothing, Err(ClientError::NoServer { .. })));
        let folder = folder_with_server("http://127.0.0.1:9");
        let choice = Choice {
            data: Some(folder.path().to_owned()),
            ..Choice::default()
        };
        let client = resolve(&choice, &aws).unwrap();
        assert_eq!(client.endpoint.to_string(), "http://127.0.0.1:9");
        assert_eq!(client.credentials.access_key_id, "AKIAROOT");
        assert_eq!(client.region, "eu-central-1");
    }

    #[test]
    fn the_root_key_signs_for_its_own_server_only() {
        let folder = folder_with_server("http://127.0.0.1:9");
        let at = |endpoint: &str| {
            let choice = Choice {
                endpoint: Some(endpoint.into()),
                data: Some(folder.path().to_owned()),
                ..Choice::default()
            };
            resolve(&choice, &environment(&[]))
        };
        assert_eq!(at("http://127.0.0.1:9").unwrap().region, "eu-central-1");
        assert!(matches!(
            at("http://elsewhere:9"),
            Err(ClientError::NoKeys { .. })
        ));
    }

    #[test]
    fn a_profile_brings_endpoint_keys_and_region() {
        let folder = tempfile::tempdir().unwrap();
        let (credentials, config) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(
            &credentials,
            "[far]\naws_access_key_id=F\naws_secret_access_key=s\n",
        )
        .unwrap();
        std::fs::write(
            &config,
            "[profile far]\nregion=eu-west-3\nendpoint_url=http://far:1\n",
        )
        .unwrap();
        let environment = environment(&[
            ("AWS_SHARED_CREDENTIALS_FILE", credentials.to_str().unwrap()),
            ("AWS_CONFIG_FILE", config.to_str().unwrap()),
            ("AWS_ACCESS_KEY_ID", "AKIA"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
        ]);
        let choice = Choice {
            profile: Some("far".into()),
            ..Choice::default()
        };
        let client = resolve(&choice, &environment).unwrap();
        assert_eq!(client.endpoint.to_string(), "http://far:1");
        assert_eq!(client.credentials.access_key_id, "F");
        assert_eq!(client.region, "eu-west-3");
        let choice = Choice {
            profile: Some("none".into()),
            ..Choice::default()
        };
        assert!(matches!(
            resolve(&choice, &environment),
            Err(ClientError::NoProfile { .. })
        ));
    }
}
