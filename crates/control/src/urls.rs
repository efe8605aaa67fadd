//! Function URLs: one per head and per alias.
//!
//! The URL and the record that says whose its id is are written in one commit.

use crate::{
    Control, ControlError, Field, Page, Resource,
    rules::cut,
    store::{self, Versioned, function_key},
};
use freehold_domain::{
    FunctionRef, Principal, Qualifier,
    ports::{Expect, Op},
    record::{CorsV1, Key, KeyPrefix, Kind, UrlOwnerV1, UrlV1},
};
use ring::rand::{SecureRandom, SystemRandom};

/// URLs on one page at the most. Source: Lambda API reference, ListFunctionUrlConfigs.
pub const URLS_PAGE_MAX: usize = 50;

/// A new URL, or a change of one; on a change `None` keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UrlSettings {
    /// `NONE` or `AWS_IAM`; a new URL needs it.
    pub auth: Option<String>,
    /// CORS, replaced whole.
    pub cors: Option<CorsV1>,
    /// `BUFFERED`; streaming is not supported yet.
    pub invoke_mode: Option<String>,
}

/// A URL and what it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedUrl {
    /// The function.
    pub function: FunctionRef,
    /// Its head or an alias.
    pub qualifier: Qualifier,
    /// The URL.
    pub url: UrlV1,
}

impl Control {
    /// Makes the URL of a function's head (no qualifier) or alias.
    ///
    /// Errors: [`ControlError::NotFound`] for function or alias, [`ControlError::AlreadyExists`],
    /// [`ControlError::Invalid`].
    pub async fn url_create(
        &self,
        who: &Principal,
        of: &FunctionRef,
        qualifier: Option<&Qualifier>,
        settings: UrlSettings,
    ) -> Result<DescribedUrl, ControlError> {
        let now = self.clock.wall();
        let mut url = UrlV1 {
            id: url_id()?,
            signed: true,
            cors: None,
            invoke_mode: "BUFFERED".into(),
            created: now,
            modified: now,
        };
        if settings.auth.is_none() {
            return Err(ControlError::invalid(Field::UrlAuthType, "NONE or AWS_IAM"));
        }
        apply(&mut url, &settings)?;
        let on = head_of(qualifier)?;
        let key = url_key(of, &on);
        let mut attempts = self.turns.attempts(&of.tenant);
        while let Some(_turn) = attempts.next().await {
            let function = self.function(who, of).await?;
            if let Qualifier::Alias(name) = &on {
                self.alias(who, of, name).await?;
            }
            if self.read::<UrlV1>(who, &key).await?.is_some() {
                return Err(ControlError::AlreadyExists {
                    what: Resource::Url,
                    name: of.name.to_string(),
                });
            }
            let owner = UrlOwnerV1 {
                function: of.clone(),
                qualifier: on.clone(),
            };
            let ops = vec![
                // Unchanged, but it fails if the function or its alias is deleted at the same time.
                store::put(function_key(of), function.expect(), &function.record),
                store::put(key.clone(), Expect::Absent, &url),
                store::put(Key::url_owner(&url.id), Expect::Absent, &owner),
            ];
            if self.try_commit_with_owner(who, of, ops).await? {
                return Ok(describe(of, on, url));
            }
        }
        Err(contended(of))
    }

    /// The URL of a function's head or alias.
    ///
    /// Errors: [`ControlError::NotFound`] for [`Resource::Url`], whether function or URL is
    /// missing.
    pub async fn url_get(
        &self,
        who: &Principal,
        of: &FunctionRef,
        qualifier: Option<&Qualifier>,
    ) -> Result<DescribedUrl, ControlError> {
        let on = qualifier.cloned().unwrap_or(Qualifier::Latest);
        let found = self.url(who, of, &on).await?;
        Ok(describe(of, on, found.record))
    }

    /// Changes a URL; its id stays.
    pub async fn url_update(
        &self,
        who: &Principal,
        of: &FunctionRef,
        qualifier: Option<&Qualifier>,
        settings: UrlSettings,
    ) -> Result<DescribedUrl, ControlError> {
        let on = qualifier.cloned().unwrap_or(Qualifier::Latest);
        let mut attempts = self.turns.attempts(&of.tenant);
        while let Some(_turn) = attempts.next().await {
            let present = match self.url(who, of, &on).await {
                // That there is nothing for it to hang on is told before that there is none.
                Err(none @ ControlError::NotFound { .. }) => {
                    self.function_get(who, of, qualifier).await?;
                    return Err(none);
                }
                found => found?,
            };
            let expect = present.expect();
            let mut url = present.record;
            apply(&mut url, &settings)?;
            url.modified = self.clock.wall();
            let ops = vec![store::put(url_key(of, &on), expect, &url)];
            if self.try_commit(who, ops).await? {
                return Ok(describe(of, on, url));
            }
        }
        Err(contended(of))
    }

    /// Deletes a URL; its id is never given again.
    pub async fn url_delete(
        &self,
        who: &Principal,
        of: &FunctionRef,
        qualifier: Option<&Qualifier>,
    ) -> Result<(), ControlError> {
        let on = qualifier.cloned().unwrap_or(Qualifier::Latest);
        let mut attempts = self.turns.attempts(&of.tenant);
        while let Some(_turn) = attempts.next().await {
            let present = self.url(who, of, &on).await?;
            let ops = vec![
                Op::Delete {
                    key: url_key(of, &on),
                    expect: present.expect(),
                },
                Op::Delete {
                    key: Key::url_owner(&present.record.id),
                    expect: Expect::Any,
                },
            ];
            if self.try_commit_with_owner(who, of, ops).await? {
                return Ok(());
            }
        }
        Err(contended(of))
    }

    /// The URLs of a function, by qualifier.
    ///
    /// Errors: [`ControlError::NotFound`] for the function.
    pub async fn url_list(
        &self,
        who: &Principal,
        of: &FunctionRef,
        marker: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Page<DescribedUrl>, ControlError> {
        self.function(who, of).await?;
        let limit = limit.unwrap_or(URLS_PAGE_MAX).clamp(1, URLS_PAGE_MAX);
        let wrong = |_| ControlError::invalid(Field::Marker, "no listing gave this marker");
        let after: Option<Qualifier> = marker.map(|m| m.parse().map_err(wrong)).transpose()?;
        let after = after.map(|on| url_key(of, &on));
        let prefix = KeyPrefix::under(&of.tenant, &of.region, Kind::Url, of.name.as_str());
        let mut found = self
            .storage
            .list(who, &prefix, after.as_ref(), limit + 1)
            .await?;
        let more = found.len() > limit;
        found.truncate(limit);
        let mut items = Vec::new();
        for stored in &found {
            let on = stored.key.name().last().and_then(|on| on.parse().ok());
            let on = on.unwrap_or(Qualifier::Latest);
            let url = freehold_domain::record::decode(&stored.bytes)?;
            items.push(describe(of, on, url));
        }
        let next = items.last().filter(|_| more);
        let next = next.map(|last| last.qualifier.to_string());
        Ok(Page { items, next })
    }

    /// Whose URL an id is, and the URL; what a front end asks before it knows a tenant.
    pub async fn url_lookup(&self, id: &str) -> Result<Option<DescribedUrl>, ControlError> {
        let platform = Principal::platform("urls");
        let owner = self
            .read::<UrlOwnerV1>(&platform, &Key::url_owner(id))
            .await?;
        let Some(Versioned { record: owner, .. }) = owner else {
            return Ok(None);
        };
        let key = url_key(&owner.function, &owner.qualifier);
        let url = self.read::<UrlV1>(&platform, &key).await?;
        Ok(url
            .filter(|url| url.record.id == id)
            .map(|url| describe(&owner.function, owner.qualifier, url.record)))
    }

    async fn url(
        &self,
        who: &Principal,
        of: &FunctionRef,
        on: &Qualifier,
    ) -> Result<Versioned<UrlV1>, ControlError> {
        self.read(who, &url_key(of, on))
            .await?
            .ok_or_else(|| ControlError::not_found(Resource::Url, &of.name))
    }
}

fn url_key(of: &FunctionRef, on: &Qualifier) -> Key {
    Key::url(&of.tenant, &of.region, &of.name, on)
}

fn describe(of: &FunctionRef, qualifier: Qualifier, url: UrlV1) -> DescribedUrl {
    DescribedUrl {
        function: of.clone(),
        qualifier,
        url,
    }
}

fn contended(of: &FunctionRef) -> ControlError {
    ControlError::Contended {
        name: of.name.to_string(),
    }
}

/// A new URL hangs on the head or on an alias; revisions have none.
fn head_of(qualifier: Option<&Qualifier>) -> Result<Qualifier, ControlError> {
    match qualifier {
        None => Ok(Qualifier::Latest),
        Some(alias @ Qualifier::Alias(_)) => Ok(alias.clone()),
        Some(other) => Err(ControlError::invalid(
            Field::Qualifier,
            format!("{other} has no URL; the function itself or an alias may"),
        )),
    }
}

fn apply(url: &mut UrlV1, settings: &UrlSettings) -> Result<(), ControlError> {
    match settings.auth.as_deref() {
        None => {}
        Some("NONE") => url.signed = false,
        Some("AWS_IAM") => url.signed = true,
        Some(other) => {
            let reason = format!("{:?} is neither NONE nor AWS_IAM", cut(other));
            return Err(ControlError::invalid(Field::UrlAuthType, reason));
        }
    }
    match settings.invoke_mode.as_deref() {
        None | Some("BUFFERED") => {}
        Some("RESPONSE_STREAM") => {
            return Err(ControlError::NotSupported {
                field: Field::UrlInvokeMode,
                value: "RESPONSE_STREAM".into(),
            });
        }
        Some(other) => {
            let reason = format!("{:?} is no invoke mode", cut(other));
            return Err(ControlError::invalid(Field::UrlInvokeMode, reason));
        }
    }
    if let Some(cors) = &settings.cors {
        check_cors(cors)?;
        url.cors = (*cors != CorsV1::default()).then(|| cors.clone());
    }
    Ok(())
}

/// Source: Lambda API reference, Cors.
fn check_cors(cors: &CorsV1) -> Result<(), ControlError> {
    let wrong = |reason: String| Err(ControlError::invalid(Field::Cors, reason));
    let methods = ["*", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
    let lists = [
        ("methods", &cors.allow_methods, 6, 6),
        ("origins", &cors.allow_origins, 100, 253),
        ("request headers", &cors.allow_headers, 100, 1024),
        ("response headers", &cors.expose_headers, 100, 1024),
    ];
    for (what, list, most, longest) in lists {
        let Some(list) = list else { continue };
        if list.len() > most {
            return wrong(format!("at most {most} {what}"));
        }
        // What is allowed here is sent back in headers, so nothing may end a header's line.
        let bad = |one: &&String| {
            one.is_empty()
                || one.len() > longest
                || one.bytes().any(|b| !(0x21..0x7f).contains(&b))
                || (what == "methods" && !methods.contains(&one.as_str()))
        };
        if let Some(one) = list.iter().find(bad) {
            return wrong(format!("{:?} is not allowed among {what}", cut(one)));
        }
    }
    if cors.max_age_s.is_some_and(|age| age > 86_400) {
        return wrong("the age is at most 86400 seconds".into());
    }
    Ok(())
}

/// 160 random bits in 32 letters and digits: nobody finds a URL by trying.
fn url_id() -> Result<String, ControlError> {
    let mut random = [0u8; 32];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| ControlError::internal("drawing a URL id", "no randomness"))?;
    let alphabet = b"abcdefghijklmnopqrstuvwxyz234567";
    Ok(random
        .iter()
        .map(|byte| char::from(alphabet[usize::from(byte % 32)]))
        .collect())
}
