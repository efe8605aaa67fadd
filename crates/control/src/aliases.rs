//! Aliases: names that point at what a function runs, and may split its traffic over two revisions.
//!
//! ```text
//!   live ──▶ 3            all of it
//!   live ──▶ 3, 4 at 0.1  a tenth runs 4, the rest 3
//! ```
//!
//! A revision that an alias points at stays: writing either rewrites the function's record
//! unchanged, so that of a deletion and a new pointer at the same time one is done and one reads again.

use crate::{
    Control, ControlError, Field, Limit, Page, Resource, rules,
    store::{self, Versioned, function_key},
};
use freehold_domain::{
    AliasName, FunctionRef, Principal, Qualifier,
    ports::{Expect, NotUp, Op},
    record::{AliasV1, FunctionStateV1, Key, KeyPrefix, Kind, SplitV1, TargetV1, UrlV1, decode},
};

/// Aliases on one page at the most. Source: Lambda API reference, ListAliases.
pub const ALIASES_PAGE_MAX: usize = 50;

/// Aliases of one function.
pub const ALIASES_MAX: usize = 1_000;

/// A new alias, or a change of one; on a change `None` keeps.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AliasSettings {
    /// What it points at; a new alias needs it.
    pub target: Option<TargetV1>,
    /// The revisions that take a part of its traffic, which replace those before: none or one.
    pub splits: Option<Vec<SplitV1>>,
    /// Free text.
    pub description: Option<String>,
}

impl Control {
    /// Makes an alias.
    ///
    /// Errors: [`ControlError::NotFound`] for the function or a revision that it shall point at;
    /// [`ControlError::AlreadyExists`]; [`ControlError::Invalid`]; [`ControlError::NotStarted`] for a
    /// revision that has failed; [`ControlError::LimitExceeded`] for [`Limit::Aliases`].
    pub async fn alias_create(
        &self,
        who: &Principal,
        of: &FunctionRef,
        name: &AliasName,
        settings: AliasSettings,
    ) -> Result<AliasV1, ControlError> {
        let Some(target) = settings.target else {
            return Err(ControlError::invalid(Field::AliasTarget, "must be given"));
        };
        let mut alias = AliasV1 {
            name: name.clone(),
            target,
            split: None,
            description: String::new(),
            revision_id: String::new(),
        };
        self.apply_to_alias(&mut alias, &settings)?;
        let key = alias_key(of, name);
        let mut attempts = self.turns.attempts(&of.tenant);
        while let Some(_turn) = attempts.next().await {
            let function = self.function(who, of).await?;
            if self.read::<AliasV1>(who, &key).await?.is_some() {
                return Err(ControlError::AlreadyExists {
                    what: Resource::Alias,
                    name: name.to_string(),
                });
            }
            self.can_be_pointed_at(who, of, &alias).await?;
            let prefix = below(of, Kind::Alias);
            let found = self.storage.list(who, &prefix, None, ALIASES_MAX).await?;
            if found.len() >= ALIASES_MAX {
                return Err(ControlError::LimitExceeded {
                    limit: Limit::Aliases,
                    max: ALIASES_MAX as u64,
                });
            }
            let ops = vec![
                store::put(function_key(of), function.expect(), &function.record),
                store::put(key.clone(), Expect::Absent, &alias),
            ];
            if self.try_commit(who, ops).await? {
                return Ok(alias);
            }
        }
        Err(contended(of, name))
    }

    /// An alias.
    ///
    /// Errors: [`ControlError::NotFound`] for [`Resource::Function`] or [`Resource::Alias`].
    pub async fn alias_get(
        &self,
        who: &Principal,
        of: &FunctionRef,
        name: &AliasName,
    ) -> Result<AliasV1, ControlError> {
        if let Some(found) = self.read::<AliasV1>(who, &alias_key(of, name)).await? {
            return Ok(found.record);
        }
        self.function(who, of).await?;
        Err(no_alias(of, name))
    }

    /// Changes an alias; the next call by its name goes where it points then.
    ///
    /// Errors: as [`Control::alias_create`], and [`ControlError::PreconditionFailed`] where
    /// `revision_id` is not the alias's.
    pub async fn alias_update(
        &self,
        who: &Principal,
        of: &FunctionRef,
        name: &AliasName,
        settings: AliasSettings,
        revision_id: Option<&str>,
    ) -> Result<AliasV1, ControlError> {
        self.new_targets_come_up(who, of, name, &settings, revision_id)
            .await?;
        let mut attempts = self.turns.attempts(&of.tenant);
        while let Some(_turn) = attempts.next().await {
            let function = self.function(who, of).await?;
            let present = self.alias(who, of, name).await?;
            let expect = present.expect();
            let mut alias = present.record;
            guard(&alias, revision_id)?;
            self.apply_to_alias(&mut alias, &settings)?;
            self.can_be_pointed_at(who, of, &alias).await?;
            let ops = vec![
                store::put(function_key(of), function.expect(), &function.record),
                store::put(alias_key(of, name), expect, &alias),
            ];
            if self.try_commit(who, ops).await? {
                return Ok(alias);
            }
        }
        Err(contended(of, name))
    }

    /// The aliases of a function by name, those that point at `target` if it is given, up to `limit`
    /// and [`ALIASES_PAGE_MAX`].
    ///
    /// Errors: [`ControlError::NotFound`] for the function; [`ControlError::Invalid`] for a marker that
    /// no page gave.
    pub async fn alias_list(
        &self,
        who: &Principal,
        of: &FunctionRef,
        target: Option<TargetV1>,
        marker: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Page<AliasV1>, ControlError> {
        self.function(who, of).await?;
        let limit = limit.unwrap_or(ALIASES_PAGE_MAX);
        let limit = limit.clamp(1, ALIASES_PAGE_MAX);
        let wrong = |_| ControlError::invalid(Field::Marker, "no listing gave this marker");
        let after: Option<AliasName> = marker.map(|m| m.parse().map_err(wrong)).transpose()?;
        let after = after.map(|name| alias_key(of, &name));
        let prefix = below(of, Kind::Alias);
        let found = self
            .storage
            .list(who, &prefix, after.as_ref(), ALIASES_MAX)
            .await?;
        let mut items: Vec<AliasV1> = Vec::new();
        for stored in &found {
            let alias: AliasV1 = decode(&stored.bytes)?;
            if target.is_none_or(|target| points_at(&alias, target)) {
                items.push(alias);
            }
            if items.len() > limit {
                break;
            }
        }
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more);
        let next = next.map(|last| last.name.to_string());
        Ok(Page { items, next })
    }

    /// Deletes an alias with its URL and policy. Deleting one that is not there is fine, as on AWS,
    /// as long as the function is.
    ///
    /// Errors: [`ControlError::NotFound`] for the function.
    pub async fn alias_delete(
        &self,
        who: &Principal,
        of: &FunctionRef,
        name: &AliasName,
    ) -> Result<(), ControlError> {
        let on = Qualifier::Alias(name.clone());
        let mut attempts = self.turns.attempts(&of.tenant);
        while let Some(_turn) = attempts.next().await {
            let function = self.function(who, of).await?;
            let Some(present) = self.read::<AliasV1>(who, &alias_key(of, name)).await? else {
                return Ok(());
            };
            let mut ops = vec![
                store::put(function_key(of), function.expect(), &function.record),
                Op::Delete {
                    key: alias_key(of, name),
                    expect: present.expect(),
                },
                Op::Delete {
                    key: Key::policy(&of.tenant, &of.region, &of.name, &on),
                    expect: Expect::Any,
                },
            ];
            let url_key = Key::url(&of.tenant, &of.region, &of.name, &on);
            if let Some(url) = self.read::<UrlV1>(who, &url_key).await? {
                ops.push(Op::Delete {
                    key: Key::url_owner(&url.record.id),
                    expect: Expect::Any,
                });
                ops.push(Op::Delete {
                    key: url_key,
                    expect: url.expect(),
                });
            }
            if self.try_commit_with_owner(who, of, ops).await? {
                return Ok(());
            }
        }
        Err(contended(of, name))
    }

    /// The names of those that point at a revision, wholly or in part.
    pub(crate) async fn aliases_of_revision(
        &self,
        who: &Principal,
        of: &FunctionRef,
        number: u64,
    ) -> Result<Vec<AliasName>, ControlError> {
        let stored = self.all(who, &below(of, Kind::Alias)).await?;
        let mut names = Vec::new();
        for one in &stored {
            let alias: AliasV1 = decode(&one.bytes)?;
            if points_at(&alias, TargetV1::Revision(number)) {
                names.push(alias.name);
            }
        }
        Ok(names)
    }

    pub(crate) async fn alias(
        &self,
        who: &Principal,
        of: &FunctionRef,
        name: &AliasName,
    ) -> Result<Versioned<AliasV1>, ControlError> {
        self.read(who, &alias_key(of, name))
            .await?
            .ok_or_else(|| no_alias(of, name))
    }

    /// Traffic moves to what runs: what an alias is to point at and does not yet is started first, so
    /// that its first call finds an instance, and one whose init fails changes nothing. Where the
    /// machine has no room or no time for it, the alias moves all the same: what has the room may be
    /// the very version that somebody wants to leave. Before the change and outside of its turn,
    /// since an init takes as long as it takes.
    async fn new_targets_come_up(
        &self,
        who: &Principal,
        of: &FunctionRef,
        name: &AliasName,
        settings: &AliasSettings,
        revision_id: Option<&str>,
    ) -> Result<(), ControlError> {
        self.function(who, of).await?;
        let present = self.alias(who, of, name).await?.record;
        guard(&present, revision_id)?;
        let mut wanted = present.clone();
        self.apply_to_alias(&mut wanted, settings)?;
        self.can_be_pointed_at(who, of, &wanted).await?;
        for target in targets(&wanted) {
            if points_at(&present, target) {
                continue;
            }
            match self.starts.comes_up(of, target).await {
                Ok(()) => {}
                Err(NotUp::Failed { reason, .. }) => {
                    return Err(ControlError::NotStarted { target, reason });
                }
                Err(NotUp::NotYet { reason }) => {
                    tracing::warn!(function = %of.name, alias = %name, ?target, reason,
                        "an alias moves to what was not started before");
                }
            }
        }
        Ok(())
    }

    /// Refuses an alias of what is not there or has failed: traffic never moves to what cannot run.
    async fn can_be_pointed_at(
        &self,
        who: &Principal,
        of: &FunctionRef,
        alias: &AliasV1,
    ) -> Result<(), ControlError> {
        for target in targets(alias) {
            let TargetV1::Revision(number) = target else {
                continue;
            };
            let revision = self.revision(who, of, number).await?.record;
            if let FunctionStateV1::Failed { reason, .. } = revision.state {
                return Err(ControlError::NotStarted { target, reason });
            }
        }
        Ok(())
    }

    fn apply_to_alias(
        &self,
        alias: &mut AliasV1,
        settings: &AliasSettings,
    ) -> Result<(), ControlError> {
        if let Some(description) = &settings.description {
            rules::description(description)?;
            alias.description.clone_from(description);
        }
        if let Some(target) = settings.target {
            alias.target = target;
        }
        if let Some(splits) = &settings.splits {
            alias.split = match splits[..] {
                [] => None,
                [one] => Some(one),
                _ => {
                    return Err(ControlError::invalid(
                        Field::AliasSplit,
                        "Number of items in AdditionalVersionWeights cannot be greater than 1",
                    ));
                }
            };
        }
        if let Some(split) = alias.split {
            check_split(alias.target, split)?;
        }
        alias.revision_id = self.ids.uuid().to_string();
        Ok(())
    }
}

/// Source of the texts: the recordings.
fn check_split(target: TargetV1, split: SplitV1) -> Result<(), ControlError> {
    let wrong = |reason: String| Err(ControlError::invalid(Field::AliasSplit, reason));
    if !(0.0..=1.0).contains(&split.weight) {
        return wrong(format!(
            "a weight of {} is not within 0 and 1",
            split.weight
        ));
    }
    match target {
        TargetV1::Head => wrong(
            "$LATEST is not supported for an alias pointing to more than 1 version".to_owned(),
        ),
        TargetV1::Revision(number) if number == split.revision => wrong(format!(
            "Invalid function version {number}. Function version {number} is already included in routing configuration."
        )),
        TargetV1::Revision(_) => Ok(()),
    }
}

fn targets(alias: &AliasV1) -> impl Iterator<Item = TargetV1> {
    let second = alias.split.map(|split| TargetV1::Revision(split.revision));
    std::iter::once(alias.target).chain(second)
}

fn points_at(alias: &AliasV1, target: TargetV1) -> bool {
    targets(alias).any(|one| one == target)
}

fn guard(alias: &AliasV1, revision_id: Option<&str>) -> Result<(), ControlError> {
    match revision_id {
        Some(id) if !id.is_empty() && id != alias.revision_id => {
            Err(ControlError::PreconditionFailed {
                what: Resource::Alias,
            })
        }
        _ => Ok(()),
    }
}

fn alias_key(of: &FunctionRef, name: &AliasName) -> Key {
    Key::alias(&of.tenant, &of.region, &of.name, name)
}

fn below(of: &FunctionRef, kind: Kind) -> KeyPrefix {
    KeyPrefix::under(&of.tenant, &of.region, kind, of.name.as_str())
}

pub(crate) fn no_alias(of: &FunctionRef, name: &AliasName) -> ControlError {
    ControlError::not_found(Resource::Alias, format!("{}:{name}", of.name))
}

fn contended(of: &FunctionRef, name: &AliasName) -> ControlError {
    ControlError::Contended {
        name: format!("{}:{name}", of.name),
    }
}
