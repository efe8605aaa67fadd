//! Published revisions: immutable, numbered from 1, never renumbered.

use crate::{
    Control, ControlError, Described, Field, Page, Place, Resource,
    rules::{self, cut},
    store::{self, function_key, revision_key},
};
use freehold_domain::{
    FunctionRef, Principal, Qualifier,
    ports::{Expect, Op},
    record::{FunctionStateV1, FunctionV1, Key, RevisionV1},
};

/// Revisions on one page at the most. Source: Lambda API reference, ListVersionsByFunction.
pub const REVISIONS_PAGE_MAX: usize = 50;

/// How to publish the head.
#[derive(Debug, Clone, Default)]
pub struct Publish {
    /// The head's, unless given.
    pub description: Option<String>,
    /// Publish only if the head's package has this digest, base64.
    pub code_digest: Option<String>,
    /// Publish only if the head is still this one.
    pub revision_id: Option<String>,
}

impl Control {
    /// Publishes the head; when nothing changed since the last publishing, that revision is the
    /// answer.
    ///
    /// Errors: [`ControlError::CodeMismatch`], [`ControlError::PreconditionFailed`],
    /// [`ControlError::Busy`], [`ControlError::NotFound`], [`ControlError::LimitExceeded`] for
    /// [`Limit::Versions`](crate::Limit::Versions).
    pub async fn revision_publish(
        &self,
        who: &Principal,
        of: &FunctionRef,
        how: Publish,
    ) -> Result<Described, ControlError> {
        if let Some(description) = &how.description {
            rules::description(description)?;
        }
        let mut attempts = self.turns.attempts(&of.tenant);
        while let Some(_turn) = attempts.next().await {
            let present = self.function(who, of).await?;
            let expect = present.expect();
            let mut function = present.record;
            let head = &function.head;
            if let Some(given) = how.code_digest.as_deref().filter(|given| !given.is_empty()) {
                let found = code_digest(&head.package.digest);
                if given != found {
                    let given = cut(given);
                    return Err(ControlError::CodeMismatch { given, found });
                }
            }
            let guard = how.revision_id.as_deref().filter(|id| !id.is_empty());
            if guard.is_some_and(|guard| guard != head.revision_id) {
                return Err(ControlError::PreconditionFailed {
                    what: Resource::Function,
                });
            }
            Self::settled(&function)?;
            if let Some(last) = self.head_as_published(who, of, &function).await? {
                return Ok(self.describe_revision(of, &function, last));
            }
            let mut revision = self.next_revision(&mut function, how.description.clone());
            // A head that is served is ready, and a revision of it needs nothing more: but for a
            // start image, for which the engine runs its init.
            if !revision.spec.snap_start
                && function.served.as_ref() == Some(&function.head)
                && function.state == FunctionStateV1::Active
            {
                revision.state = FunctionStateV1::Active;
            }
            let mut ops = vec![store::put(function_key(of), expect, &function)];
            ops.extend(self.revision_put(of, Some(&revision)));
            ops.extend(self.version_room(who, &Place::of(of)).await?);
            if self.try_commit(who, ops).await? {
                return Ok(self.describe_revision(of, &function, revision));
            }
        }
        Err(ControlError::Contended {
            name: of.name.to_string(),
        })
    }

    /// The head and then the revisions by number, up to `limit` and [`REVISIONS_PAGE_MAX`].
    ///
    /// Errors: [`ControlError::NotFound`] for the function.
    pub async fn revision_list(
        &self,
        who: &Principal,
        of: &FunctionRef,
        marker: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Page<Described>, ControlError> {
        let function = self.function(who, of).await?.record;
        let limit = limit.unwrap_or(REVISIONS_PAGE_MAX);
        let limit = limit.clamp(1, REVISIONS_PAGE_MAX);
        let after: Option<u64> = match marker {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| {
                ControlError::invalid(Field::Marker, "no listing gave this marker")
            })?),
        };
        let mut items = Vec::new();
        if after.is_none() {
            items.push(self.describe_head(of, &function));
        }
        let room = limit - items.len();
        let mut last = after.unwrap_or(0);
        let mut found = self.revisions_after(who, of, last, room + 1).await?;
        let more = found.len() > room;
        found.truncate(room);
        for revision in found {
            last = revision.number;
            items.push(self.describe_revision(of, &function, revision));
        }
        let next = more.then(|| last.to_string());
        Ok(Page { items, next })
    }

    /// Deletes one revision with its policy.
    ///
    /// Errors: [`ControlError::NotFound`]; [`ControlError::Referenced`] by aliases. Deleting a revision
    /// that is not there is fine, as on AWS, as long as the function is.
    pub async fn revision_delete(
        &self,
        who: &Principal,
        of: &FunctionRef,
        number: u64,
    ) -> Result<(), ControlError> {
        let on = Qualifier::Revision(number);
        let policy = Key::policy(&of.tenant, &of.region, &of.name, &on);
        let mut attempts = self.turns.attempts(&of.tenant);
        while let Some(_turn) = attempts.next().await {
            let function = self.function(who, of).await?;
            let aliases = self.aliases_of_revision(who, of, number).await?;
            if !aliases.is_empty() {
                return Err(ControlError::Referenced { aliases });
            }
            let gone = [revision_key(of, number), policy.clone()].map(|key| Op::Delete {
                key,
                expect: Expect::Any,
            });
            let mut ops = Vec::from(gone);
            // Unchanged, but it fails if an alias comes to point at it at the same time.
            ops.push(store::put(
                function_key(of),
                function.expect(),
                &function.record,
            ));
            if self.try_commit(who, ops).await? {
                return Ok(());
            }
        }
        Err(ControlError::Contended {
            name: of.name.to_string(),
        })
    }

    /// The revision as which the head was published, if it did not change since. Generations only
    /// grow, and a head is published once: it is the last number that was given, or none.
    pub(crate) async fn head_as_published(
        &self,
        who: &Principal,
        of: &FunctionRef,
        function: &FunctionV1,
    ) -> Result<Option<RevisionV1>, ControlError> {
        let last = revision_key(of, function.next_revision.saturating_sub(1));
        let last = self.read::<RevisionV1>(who, &last).await?;
        let last = last.map(|last| last.record);
        Ok(last.filter(|last| last.spec.generation == function.head.generation))
    }
}

/// A package's digest as clients write it: base64.
pub fn code_digest(digest: &freehold_domain::Digest) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(digest.0)
}
