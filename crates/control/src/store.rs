//! Typed reads and compare-and-set over the store's keys and bytes.

use crate::{Control, ControlError, Place, Resource};
use freehold_domain::{
    FunctionName, FunctionRef, Principal,
    ports::{CommitError, Expect, Fence, Op, RecordVersion, Records, Stored},
    record::{self, FunctionV1, Key, KeyPrefix, Kind, Record, RevisionV1},
};

/// Attempts at one change before [`ControlError::Contended`]: each lost attempt means that some
/// other writer won, so this many lost in a row say that the record is fought over.
pub(crate) const CHANGE_ATTEMPTS: usize = 32;

/// Records read at once while listing.
pub(crate) const LIST_CHUNK: usize = 256;

/// A record with the version that a change must find.
pub(crate) struct Versioned<R> {
    pub(crate) record: R,
    pub(crate) version: RecordVersion,
}

impl<R> Versioned<R> {
    pub(crate) fn expect(&self) -> Expect {
        Expect::Version(self.version)
    }
}

/// A write of `record`.
pub(crate) fn put<R: Record>(key: Key, expect: Expect, record: &R) -> Op {
    Op::Put {
        key,
        expect,
        bytes: record::encode(record),
    }
}

/// A record of a listing; one that does not read is told to the log and left out, since one broken
/// record must not hide all others. Whoever decides by it alone reads it itself, and is refused.
pub(crate) fn readable<R: Record>(stored: &Stored) -> Option<R> {
    let read = record::decode(&stored.bytes);
    read.inspect_err(|error| tracing::error!(key = %stored.key, %error, "a record does not read"))
        .ok()
}

impl Place {
    pub(crate) fn of(function: &FunctionRef) -> Self {
        Self {
            tenant: function.tenant.clone(),
            region: function.region.clone(),
        }
    }
    pub(crate) fn function(&self, name: &FunctionName) -> FunctionRef {
        FunctionRef {
            tenant: self.tenant.clone(),
            region: self.region.clone(),
            name: name.clone(),
        }
    }
}

pub(crate) fn function_key(of: &FunctionRef) -> Key {
    Key::function(&of.tenant, &of.region, &of.name)
}

pub(crate) fn revision_key(of: &FunctionRef, number: u64) -> Key {
    Key::revision(&of.tenant, &of.region, &of.name, number)
}

impl Control {
    pub(crate) async fn read<R: Record>(
        &self,
        who: &Principal,
        key: &Key,
    ) -> Result<Option<Versioned<R>>, ControlError> {
        let Some(stored) = Records::get(&*self.storage, who, key).await? else {
            return Ok(None);
        };
        Ok(Some(Versioned {
            record: record::decode(&stored.bytes)?,
            version: stored.version,
        }))
    }

    pub(crate) async fn function(
        &self,
        who: &Principal,
        of: &FunctionRef,
    ) -> Result<Versioned<FunctionV1>, ControlError> {
        self.read(who, &function_key(of))
            .await?
            .ok_or_else(|| ControlError::not_found(Resource::Function, &of.name))
    }

    pub(crate) async fn revision(
        &self,
        who: &Principal,
        of: &FunctionRef,
        number: u64,
    ) -> Result<Versioned<RevisionV1>, ControlError> {
        self.read(who, &revision_key(of, number))
            .await?
            .ok_or_else(|| {
                ControlError::not_found(Resource::Revision, format!("{}:{number}", of.name))
            })
    }

    /// Commits for `who`; `Ok(false)` when a record was not as expected: read again and retry.
    pub(crate) async fn try_commit(
        &self,
        who: &Principal,
        ops: Vec<Op>,
    ) -> Result<bool, ControlError> {
        match self.storage.commit(who, ops, Fence::None).await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// As [`Control::try_commit`] for changes that also touch a record of the platform, such as
    /// the owner of a URL; the caller has read the function as `who` before.
    pub(crate) async fn try_commit_with_owner(
        &self,
        who: &Principal,
        of: &FunctionRef,
        ops: Vec<Op>,
    ) -> Result<bool, ControlError> {
        Self::reaches(who, &of.tenant)?;
        self.try_commit(&Principal::platform("control"), ops).await
    }

    /// Everything below `prefix`, in key order.
    pub(crate) async fn all(
        &self,
        who: &Principal,
        prefix: &KeyPrefix,
    ) -> Result<Vec<Stored>, ControlError> {
        let mut found: Vec<Stored> = Vec::new();
        loop {
            let after = found.last().map(|stored| stored.key.clone());
            let more = self
                .storage
                .list(who, prefix, after.as_ref(), LIST_CHUNK)
                .await?;
            let last = more.len() < LIST_CHUNK;
            found.extend(more);
            if last {
                return Ok(found);
            }
        }
    }

    /// All functions of a tenant in a region.
    pub(crate) async fn functions_in(
        &self,
        who: &Principal,
        place: &Place,
    ) -> Result<Vec<FunctionV1>, ControlError> {
        let prefix = KeyPrefix::kind(&place.tenant, &place.region, Kind::Function);
        let stored = self.all(who, &prefix).await?;
        stored
            .iter()
            .map(|one| Ok(record::decode(&one.bytes)?))
            .collect()
    }

    /// Published revisions of a function with numbers above `after`, by number, at most `limit`.
    pub(crate) async fn revisions_after(
        &self,
        who: &Principal,
        of: &FunctionRef,
        after: u64,
        limit: usize,
    ) -> Result<Vec<RevisionV1>, ControlError> {
        let prefix = KeyPrefix::under(&of.tenant, &of.region, Kind::Revision, of.name.as_str());
        let after = revision_key(of, after);
        let stored = self.storage.list(who, &prefix, Some(&after), limit).await?;
        stored
            .iter()
            .map(|one| Ok(record::decode(&one.bytes)?))
            .collect()
    }
}
