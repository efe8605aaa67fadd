//! Functions: made, read, listed, changed, deleted.
//!
//! ```text
//!            create            engine               update             engine
//!  (nothing) ─────▶ Pending ─────────▶ Active ───────────────▶ Active ───────▶ Active
//!                             Successful          InProgress          Successful
//! ```
//!
//! Only the desired part is written here. While the engine makes a head ready, another change is
//! refused with [`ControlError::Busy`], as on AWS.

use crate::{
    Control, ControlError, Field, Limit, Page, Place, Resource, Settings,
    rules::{self, cut},
    store::{self, Versioned, function_key, revision_key},
};
use bytes::Bytes;
use freehold_domain::{
    AliasName, FunctionName, FunctionRef, Mebibytes, Principal, Qualifier,
    limits::Limits,
    ports::{Blobs, CodeError, Expect, Op, Records},
    record::{
        FunctionStateV1, FunctionV1, ImageStateV1, Key, KeyPrefix, Kind, LoggingV1, NumberingV1,
        PackageV1, RevisionSpecV1, RevisionV1, TargetV1, UpdateStateV1, UrlV1,
    },
};
use std::collections::BTreeMap;

/// Functions on one page at the most. Source: Lambda API reference, ListFunctions.
pub const FUNCTIONS_PAGE_MAX: usize = 50;

/// What a new function is.
#[derive(Debug, Clone)]
pub struct NewFunction {
    /// Its name.
    pub name: FunctionName,
    /// The archive.
    pub zip: Bytes,
    /// Runtime, handler and role are needed; the rest has defaults.
    pub settings: Settings,
    /// One of `x86_64` and `arm64`, or nothing for this machine's.
    pub architectures: Option<Vec<String>>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Publish the first revision at once.
    pub publish: bool,
}

/// New code for a function's head.
#[derive(Debug, Clone, Default)]
pub struct CodeChange {
    /// The archive.
    pub zip: Bytes,
    /// Must be this machine's, where given.
    pub architectures: Option<Vec<String>>,
    /// Publish a revision of it in the same commit.
    pub publish: bool,
    /// Check only.
    pub dry_run: bool,
    /// Change only if the head is still this one.
    pub revision_id: Option<String>,
}

/// New settings for a function's head.
#[derive(Debug, Clone, Default)]
pub struct ConfigurationChange {
    /// `None` keeps.
    pub settings: Settings,
    /// Change only if the head is still this one.
    pub revision_id: Option<String>,
}

/// The tenant's variables, opened.
#[derive(Clone, PartialEq, Eq)]
pub enum Environment {
    /// As they were given; empty when there are none.
    Variables(BTreeMap<String, String>),
    /// They do not open with the keys of this node.
    Unreadable,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variables(all) => write!(f, "Variables({} withheld)", all.len()),
            Self::Unreadable => f.write_str("Unreadable"),
        }
    }
}

/// A function's head or one of its revisions, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Which function.
    pub function: FunctionRef,
    /// Head or revision.
    pub qualifier: Qualifier,
    /// The alias by which it was asked for.
    pub alias: Option<AliasName>,
    /// What it is, or, for a head, should be.
    pub spec: RevisionSpecV1,
    /// Its variables.
    pub environment: Environment,
    /// Whether it can be invoked.
    pub state: FunctionStateV1,
    /// What became of a revision's start image.
    pub image: ImageStateV1,
    /// How its last change went; of a revision, which never changes, [`UpdateStateV1::Successful`].
    pub last_update: UpdateStateV1,
    /// The function's reserved concurrency.
    pub reserved_concurrency: Option<u32>,
    /// The function's tags.
    pub tags: BTreeMap<String, String>,
}

impl Control {
    /// Makes a function.
    ///
    /// Errors: [`ControlError::AlreadyExists`]; whatever the settings or the archive break;
    /// [`ControlError::LimitExceeded`] for [`Limit::CodeStorage`].
    pub async fn function_create(
        &self,
        who: &Principal,
        place: &Place,
        new: NewFunction,
    ) -> Result<Described, ControlError> {
        Self::reaches(who, &place.tenant)?;
        let of = place.function(&new.name);
        new.settings.without_effect.check()?;
        rules::tags(&new.tags)?;
        let architecture = self.architecture_of(new.architectures.as_deref())?;
        let limits = self.limits_of(who, &place.tenant).await?;
        let mut spec = self.first_spec(&of, &new.settings, architecture, &limits)?;
        if let Some(network) = rules::tagged(&new.tags, &self.networks, &of.tenant)? {
            spec.network = Some(network);
        }
        let key = function_key(&of);
        let exists = || ControlError::AlreadyExists {
            what: Resource::Function,
            name: of.name.to_string(),
        };
        if Records::get(&*self.storage, who, &key).await?.is_some() {
            return Err(exists());
        }
        self.function_room(who, place, new.publish).await?;
        self.code_storage_has_room(who, place, new.zip.len() as u64, 0)
            .await?;
        let admitted = self.packages.admit(who, &place.tenant, new.zip).await?;
        spec.package = admitted.package().clone();
        self.judge(&of, &spec).await?;
        let numbering = Key::numbering(&of.tenant, &of.region, &of.name);
        let numbering = self.read::<NumberingV1>(who, &numbering).await?;
        let mut function = FunctionV1 {
            name: new.name,
            created: spec.modified,
            head: spec,
            served: None,
            state: FunctionStateV1::Pending,
            last_update: UpdateStateV1::Successful,
            next_revision: numbering.map_or(1, |left| left.record.next_revision),
            reserved_concurrency: None,
            tags: new.tags,
        };
        let published = new.publish.then(|| self.next_revision(&mut function, None));
        let mut attempts = self.turns.attempts(&of.tenant);
        while let Some(_turn) = attempts.next().await {
            let mut ops = vec![store::put(key.clone(), Expect::Absent, &function)];
            ops.extend(self.revision_put(&of, published.as_ref()));
            ops.extend(self.function_room(who, place, published.is_some()).await?);
            if self.try_commit(who, ops).await? {
                return Ok(self.described_after(&of, function, published));
            }
            if Records::get(&*self.storage, who, &key).await?.is_some() {
                return Err(exists());
            }
        }
        Err(ControlError::Contended {
            name: of.name.to_string(),
        })
    }

    /// One function's head (no qualifier, or [`Qualifier::Latest`]) or one of its revisions.
    ///
    /// Errors: [`ControlError::NotFound`].
    pub async fn function_get(
        &self,
        who: &Principal,
        of: &FunctionRef,
        qualifier: Option<&Qualifier>,
    ) -> Result<Described, ControlError> {
        let function = self.function(who, of).await?.record;
        match qualifier {
            None | Some(Qualifier::Latest) => Ok(self.describe_head(of, &function)),
            Some(Qualifier::Revision(number)) => {
                let revision = self.revision(who, of, *number).await?.record;
                Ok(self.describe_revision(of, &function, revision))
            }
            Some(Qualifier::Alias(name)) => {
                let alias = self.alias(who, of, name).await?.record;
                let described = match alias.target {
                    TargetV1::Head => self.describe_head(of, &function),
                    TargetV1::Revision(number) => {
                        let revision = self.revision(who, of, number).await?.record;
                        self.describe_revision(of, &function, revision)
                    }
                };
                Ok(Described {
                    alias: Some(alias.name),
                    ..described
                })
            }
        }
    }

    /// The functions of a place by name, up to `limit` and [`FUNCTIONS_PAGE_MAX`]; with
    /// `all_revisions` each head is followed by its revisions.
    ///
    /// Errors: [`ControlError::Invalid`] for a marker that no page gave.
    pub async fn function_list(
        &self,
        who: &Principal,
        place: &Place,
        all_revisions: bool,
        marker: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Page<Described>, ControlError> {
        Self::reaches(who, &place.tenant)?;
        let limit = limit.unwrap_or(FUNCTIONS_PAGE_MAX);
        let limit = limit.clamp(1, FUNCTIONS_PAGE_MAX);
        let mut after = marker.map(After::parse).transpose()?;
        let prefix = KeyPrefix::kind(&place.tenant, &place.region, Kind::Function);
        let mut items: Vec<Described> = Vec::new();
        // The function whose revisions an earlier page broke off comes again, without its head.
        if let Some(After { name, revision }) = &after
            && all_revisions
        {
            let of = place.function(name);
            if let Some(Versioned { record, .. }) =
                self.read::<FunctionV1>(who, &function_key(&of)).await?
            {
                self.add_revisions(who, &of, &record, *revision, limit + 1, &mut items)
                    .await?;
            }
        }
        while items.len() <= limit {
            let from = after
                .as_ref()
                .map(|after| Key::function(&place.tenant, &place.region, &after.name));
            let found = self
                .storage
                .list(who, &prefix, from.as_ref(), limit + 1)
                .await?;
            let ended = found.len() <= limit;
            for stored in found {
                let function: FunctionV1 = freehold_domain::record::decode(&stored.bytes)?;
                let of = place.function(&function.name);
                items.push(self.describe_head(&of, &function));
                after = Some(After {
                    name: function.name.clone(),
                    revision: 0,
                });
                if all_revisions {
                    self.add_revisions(who, &of, &function, 0, limit + 1, &mut items)
                        .await?;
                }
                if items.len() > limit {
                    break;
                }
            }
            if ended {
                break;
            }
        }
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(After::marker);
        Ok(Page { items, next })
    }

    async fn add_revisions(
        &self,
        who: &Principal,
        of: &FunctionRef,
        function: &FunctionV1,
        after: u64,
        until: usize,
        items: &mut Vec<Described>,
    ) -> Result<(), ControlError> {
        let room = until.saturating_sub(items.len());
        for revision in self.revisions_after(who, of, after, room).await? {
            items.push(self.describe_revision(of, function, revision));
        }
        Ok(())
    }

    /// Gives the head new code.
    ///
    /// Errors: as [`Control::function_create`]; [`ControlError::PreconditionFailed`] for a stale
    /// `revision_id`; [`ControlError::Busy`].
    pub async fn function_update_code(
        &self,
        who: &Principal,
        of: &FunctionRef,
        change: CodeChange,
    ) -> Result<Described, ControlError> {
        let present = self.function(who, of).await?;
        self.may_change(&present.record, change.revision_id.as_deref())?;
        let architecture = match change.architectures.as_deref() {
            Some(given) => self.architecture_of(Some(given))?,
            None => present.record.head.architecture.clone(),
        };
        let place = Place::of(of);
        let replaced = present.record.head.package.zip_bytes;
        self.code_storage_has_room(who, &place, change.zip.len() as u64, replaced)
            .await?;
        let admitted = self.packages.admit(who, &of.tenant, change.zip).await?;
        let code = |head: &mut RevisionSpecV1| {
            head.package = admitted.package().clone();
            head.architecture.clone_from(&architecture);
            Ok(())
        };
        let mut function = present.record;
        code(&mut function.head)?;
        self.judge(of, &function.head).await?;
        if change.dry_run {
            return Ok(self.describe_head(of, &function));
        }
        let guard = change.revision_id.as_deref();
        self.change_head(who, of, guard, change.publish, code).await
    }

    /// Gives the head new settings.
    ///
    /// Errors: as [`Control::function_update_code`].
    pub async fn function_update_configuration(
        &self,
        who: &Principal,
        of: &FunctionRef,
        change: ConfigurationChange,
    ) -> Result<Described, ControlError> {
        Self::reaches(who, &of.tenant)?;
        change.settings.without_effect.check()?;
        let guard = change.revision_id.as_deref();
        let limits = self.limits_of(who, &of.tenant).await?;
        let apply = |head: &mut RevisionSpecV1| self.apply(of, head, &change.settings, &limits);
        let present = self.function(who, of).await?.record;
        self.may_change(&present, guard)?;
        let mut head = present.head;
        apply(&mut head)?;
        self.judge(of, &head).await?;
        self.change_head(who, of, guard, false, apply).await
    }

    /// The head gets the policy that its function's tags name now.
    pub(crate) fn take_tagged_network(
        &self,
        of: &FunctionRef,
        function: &mut FunctionV1,
    ) -> Result<(), ControlError> {
        let network = rules::tagged(&function.tags, &self.networks, &of.tenant)?;
        if network == function.head.network {
            return Ok(());
        }
        self.may_change(function, None)?;
        function.head.network = network;
        function.head.generation += 1;
        function.head.revision_id = self.ids.uuid().to_string();
        function.head.modified = self.clock.wall();
        match function.served {
            Some(_) => function.last_update = UpdateStateV1::InProgress,
            None => function.state = FunctionStateV1::Pending,
        }
        Ok(())
    }

    /// Changes the head by `edit` in a compare-and-set loop.
    async fn change_head(
        &self,
        who: &Principal,
        of: &FunctionRef,
        guard: Option<&str>,
        publish: bool,
        edit: impl Fn(&mut RevisionSpecV1) -> Result<(), ControlError>,
    ) -> Result<Described, ControlError> {
        let mut attempts = self.turns.attempts(&of.tenant);
        while let Some(_turn) = attempts.next().await {
            let present = self.function(who, of).await?;
            let expect = present.expect();
            let mut function = present.record;
            self.may_change(&function, guard)?;
            let before = function.head.clone();
            edit(&mut function.head)?;
            // The generation names the content: a change that changes nothing keeps it, so that
            // publishing after it makes no new revision, as on AWS.
            if !same_content(&before, &function.head) {
                function.head.generation = before.generation + 1;
            }
            function.head.revision_id = self.ids.uuid().to_string();
            function.head.modified = self.clock.wall();
            match function.served {
                Some(_) => function.last_update = UpdateStateV1::InProgress,
                None => function.state = FunctionStateV1::Pending,
            }
            let mut published = None;
            let mut ops = Vec::new();
            if publish {
                match self.head_as_published(who, of, &function).await? {
                    Some(last) => published = Some(last),
                    None => {
                        published = Some(self.next_revision(&mut function, None));
                        ops.extend(self.revision_put(of, published.as_ref()));
                        ops.extend(self.version_room(who, &Place::of(of)).await?);
                    }
                }
            }
            ops.push(store::put(function_key(of), expect, &function));
            if self.try_commit(who, ops).await? {
                return Ok(self.described_after(of, function, published));
            }
        }
        Err(ControlError::Contended {
            name: of.name.to_string(),
        })
    }

    /// Deletes a function with its revisions, aliases, URLs and policies, in one commit.
    ///
    /// Errors: [`ControlError::NotFound`].
    pub async fn function_delete(
        &self,
        who: &Principal,
        of: &FunctionRef,
    ) -> Result<(), ControlError> {
        let mut attempts = self.turns.attempts(&of.tenant);
        while let Some(_turn) = attempts.next().await {
            let present = self.function(who, of).await?;
            let mut ops = vec![Op::Delete {
                key: function_key(of),
                expect: present.expect(),
            }];
            let next_revision = present.record.next_revision;
            if next_revision > 1 {
                let key = Key::numbering(&of.tenant, &of.region, &of.name);
                let left = NumberingV1 { next_revision };
                ops.push(store::put(key, Expect::Any, &left));
            }
            for kind in [Kind::Revision, Kind::Alias, Kind::Url, Kind::Policy] {
                let prefix = KeyPrefix::under(&of.tenant, &of.region, kind, of.name.as_str());
                for stored in self.all(who, &prefix).await? {
                    if kind == Kind::Url {
                        let url: UrlV1 = freehold_domain::record::decode(&stored.bytes)?;
                        ops.push(Op::Delete {
                            key: Key::url_owner(&url.id),
                            expect: Expect::Any,
                        });
                    }
                    ops.push(Op::Delete {
                        key: stored.key,
                        expect: Expect::Version(stored.version),
                    });
                }
            }
            // Publishing, aliases, URLs and permissions write the function's record too, so that nothing
            // can be added below a function that goes away at the same time.
            if self.try_commit_with_owner(who, of, ops).await? {
                return Ok(());
            }
        }
        Err(ControlError::Contended {
            name: of.name.to_string(),
        })
    }

    /// The archive of a head or revision, as it was uploaded.
    ///
    /// Errors: [`ControlError::NotFound`].
    pub async fn function_package(
        &self,
        who: &Principal,
        of: &FunctionRef,
        qualifier: Option<&Qualifier>,
    ) -> Result<Bytes, ControlError> {
        let digest = self
            .function_get(who, of, qualifier)
            .await?
            .spec
            .package
            .digest;
        let found = Blobs::get(&*self.storage, who, &of.tenant, digest).await?;
        found.ok_or_else(|| ControlError::not_found(Resource::Package, digest))
    }

    /// Whether the head may be changed now, by a caller who last saw `guard`.
    fn may_change(&self, function: &FunctionV1, guard: Option<&str>) -> Result<(), ControlError> {
        if guard.is_some_and(|guard| guard != function.head.revision_id) {
            return Err(ControlError::PreconditionFailed {
                what: Resource::Function,
            });
        }
        Self::settled(function)
    }

    /// Refuses a function that is being made ready.
    pub(crate) fn settled(function: &FunctionV1) -> Result<(), ControlError> {
        let pending = function.state == FunctionStateV1::Pending;
        if pending || function.last_update == UpdateStateV1::InProgress {
            return Err(ControlError::Busy {
                function: function.name.clone(),
                pending,
            });
        }
        Ok(())
    }

    fn first_spec(
        &self,
        of: &FunctionRef,
        settings: &Settings,
        architecture: String,
        limits: &Limits,
    ) -> Result<RevisionSpecV1, ControlError> {
        let needed = |field, given: &Option<String>| match given {
            Some(text) if !text.is_empty() => Ok(text.clone()),
            _ => Err(ControlError::invalid(field, "must be given")),
        };
        let runtime = needed(Field::Runtime, &settings.runtime)?;
        needed(Field::Handler, &settings.handler)?;
        let role = needed(Field::Role, &settings.role)?;
        let resolved = self.resolve(&runtime)?;
        let mut spec = RevisionSpecV1 {
            generation: 1,
            runtime: resolved.name,
            substitute: resolved.substitute,
            handler: None,
            package: PackageV1 {
                digest: freehold_domain::Digest([0; 32]),
                zip_bytes: 0,
                unpacked_bytes: 0,
                holds_libraries: false,
            },
            role,
            description: String::new(),
            memory: Mebibytes(128.max(limits.memory_min_mib)),
            timeout_s: 3,
            tmp: Mebibytes(512.max(limits.tmp_min_mib)),
            environment: None,
            logging: LoggingV1 {
                group: None,
                json: false,
                application_level: None,
                system_level: None,
            },
            architecture,
            snap_start: false,
            network: None,
            left_network: false,
            revision_id: self.ids.uuid().to_string(),
            modified: self.clock.wall(),
        };
        self.apply(of, &mut spec, settings, limits)?;
        Ok(spec)
    }

    /// Applies settings to a head; the one place that checks them.
    fn apply(
        &self,
        of: &FunctionRef,
        head: &mut RevisionSpecV1,
        settings: &Settings,
        limits: &Limits,
    ) -> Result<(), ControlError> {
        if let Some(runtime) = &settings.runtime {
            let resolved = self.resolve(runtime)?;
            (head.runtime, head.substitute) = (resolved.name, resolved.substitute);
        }
        if let Some(handler) = &settings.handler {
            rules::handler(handler)?;
            head.handler = Some(handler.clone());
        }
        if let Some(role) = &settings.role {
            rules::role(role)?;
            head.role.clone_from(role);
        }
        if let Some(description) = &settings.description {
            rules::description(description)?;
            head.description.clone_from(description);
        }
        if let Some(timeout) = settings.timeout_s {
            head.timeout_s =
                rules::in_range(Field::Timeout, timeout, 1, limits.function_timeout_s)?;
        }
        if let Some(memory) = settings.memory_mib {
            let (min, max) = (limits.memory_min_mib, limits.memory_max_mib);
            head.memory = Mebibytes(rules::in_range(Field::Memory, memory, min, max)?);
        }
        if let Some(tmp) = settings.tmp_mib {
            let (min, max) = (limits.tmp_min_mib, limits.tmp_max_mib);
            head.tmp = Mebibytes(rules::in_range(Field::Tmp, tmp, min, max)?);
        }
        if let Some(variables) = &settings.environment {
            rules::environment(variables, limits)?;
            // Sealing takes a new nonce: equal variables keep their seal, or every update would
            // look like a change.
            // Given but empty is kept apart from not given: AWS shows the one and not the other.
            let same = head.environment.is_some()
                && self.environment(of, head) == Environment::Variables(variables.clone());
            if !same {
                let plain = serde_json::to_vec(variables).expect("a map of strings serializes");
                let sealed = self.sealer.seal(&plain, &environment_context(of));
                head.environment = Some(sealed);
            }
        }
        if let Some(change) = &settings.logging {
            head.logging = rules::logging(&head.logging, change)?;
        }
        if let Some(vpc) = &settings.vpc {
            let had_one = head.network.is_some() || head.left_network;
            head.network = rules::vpc(vpc, &self.networks, &of.tenant)?;
            head.left_network = had_one && head.network.is_none();
        }
        head.snap_start = settings.snap_start.unwrap_or(head.snap_start);
        if head.snap_start {
            rules::snap_start(head.runtime.as_str())?;
        }
        Ok(())
    }

    /// Refuses code that its runtime cannot run, before anything is written.
    async fn judge(&self, of: &FunctionRef, spec: &RevisionSpecV1) -> Result<(), ControlError> {
        let judged = self.runtimes.judge(&of.tenant, spec).await;
        judged.map_err(|error| match error {
            CodeError::Refused { reason } => ControlError::BadCode { reason },
            CodeError::Failed {
                is_busy: true,
                reason,
            } => ControlError::CodeWaits { reason },
            failed @ CodeError::Failed { .. } => {
                ControlError::internal("preparing the code", failed.to_string())
            }
        })
    }

    fn resolve(&self, runtime: &str) -> Result<crate::ResolvedRuntime, ControlError> {
        self.runtimes
            .resolve(runtime)
            .map_err(|remedy| ControlError::UnknownRuntime {
                name: cut(runtime),
                remedy,
            })
    }

    fn architecture_of(&self, given: Option<&[String]>) -> Result<String, ControlError> {
        match given {
            None | Some([]) => Ok(self.architecture.to_owned()),
            Some([one]) if one == self.architecture => Ok(one.clone()),
            Some([one]) if one == "x86_64" || one == "arm64" => Err(ControlError::NotSupported {
                field: Field::Architecture,
                value: one.clone(),
            }),
            Some(other) => Err(ControlError::invalid(
                Field::Architecture,
                format!("{:?} is neither x86_64 nor arm64", cut(&other.join(", "))),
            )),
        }
    }

    async fn code_storage_has_room(
        &self,
        who: &Principal,
        place: &Place,
        zip_bytes: u64,
        replaced_bytes: u64,
    ) -> Result<(), ControlError> {
        self.packages.may_be_admitted(zip_bytes)?;
        let max = self.limits_of(who, &place.tenant).await?.code_storage_bytes;
        let used = self.account_usage(who, place).await?.code_bytes;
        if used
            .saturating_sub(replaced_bytes)
            .saturating_add(zip_bytes)
            > max
        {
            return Err(ControlError::LimitExceeded {
                limit: Limit::CodeStorage,
                max,
            });
        }
        Ok(())
    }

    fn environment(&self, of: &FunctionRef, spec: &RevisionSpecV1) -> Environment {
        let Some(sealed) = &spec.environment else {
            return Environment::Variables(BTreeMap::new());
        };
        let opened = self.sealer.open(sealed, &environment_context(of)).ok();
        opened
            .and_then(|plain| serde_json::from_slice(&plain).ok())
            .map_or(Environment::Unreadable, Environment::Variables)
    }

    fn described_after(
        &self,
        of: &FunctionRef,
        function: FunctionV1,
        published: Option<RevisionV1>,
    ) -> Described {
        match published {
            Some(revision) => self.describe_revision(of, &function, revision),
            None => self.describe_head(of, &function),
        }
    }

    pub(crate) fn describe_head(&self, of: &FunctionRef, function: &FunctionV1) -> Described {
        Described {
            function: of.clone(),
            qualifier: Qualifier::Latest,
            alias: None,
            environment: self.environment(of, &function.head),
            spec: function.head.clone(),
            state: function.state.clone(),
            image: ImageStateV1::None,
            last_update: function.last_update.clone(),
            reserved_concurrency: function.reserved_concurrency,
            tags: function.tags.clone(),
        }
    }

    pub(crate) fn describe_revision(
        &self,
        of: &FunctionRef,
        function: &FunctionV1,
        revision: RevisionV1,
    ) -> Described {
        Described {
            function: of.clone(),
            qualifier: Qualifier::Revision(revision.number),
            alias: None,
            environment: self.environment(of, &revision.spec),
            spec: revision.spec,
            state: revision.state,
            image: revision.image,
            last_update: UpdateStateV1::Successful,
            reserved_concurrency: function.reserved_concurrency,
            tags: function.tags.clone(),
        }
    }

    /// Takes the next number for what the head is now.
    pub(crate) fn next_revision(
        &self,
        function: &mut FunctionV1,
        description: Option<String>,
    ) -> RevisionV1 {
        let number = function.next_revision;
        function.next_revision += 1;
        let mut spec = function.head.clone();
        spec.revision_id = self.ids.uuid().to_string();
        if let Some(description) = description {
            spec.description = description;
        }
        RevisionV1 {
            number,
            spec,
            state: FunctionStateV1::Pending,
            image: ImageStateV1::None,
        }
    }

    pub(crate) fn revision_put(&self, of: &FunctionRef, new: Option<&RevisionV1>) -> Option<Op> {
        new.map(|revision| store::put(revision_key(of, revision.number), Expect::Absent, revision))
    }
}

/// What an environment is sealed for; the engine opens it with the same.
pub fn environment_context(of: &FunctionRef) -> String {
    format!("{}/{}/{}", of.tenant, of.region, of.name)
}

/// Whether two heads would make the same instances and show the same settings.
fn same_content(a: &RevisionSpecV1, b: &RevisionSpecV1) -> bool {
    let content = |spec: &RevisionSpecV1| RevisionSpecV1 {
        generation: 0,
        revision_id: String::new(),
        modified: freehold_domain::Wall(0),
        ..spec.clone()
    };
    content(a) == content(b)
}

/// Where a page broke off: behind a function's head (revision 0) or one of its revisions.
struct After {
    name: FunctionName,
    revision: u64,
}

impl After {
    fn marker(last: &Described) -> String {
        match last.qualifier {
            Qualifier::Revision(number) => format!("{}/{number}", last.function.name),
            _ => format!("{}/0", last.function.name),
        }
    }
    fn parse(marker: &str) -> Result<Self, ControlError> {
        let parsed = marker.split_once('/').and_then(|(name, revision)| {
            Some(Self {
                name: name.parse().ok()?,
                revision: revision.parse().ok()?,
            })
        });
        parsed.ok_or_else(|| ControlError::invalid(Field::Marker, "no listing gave this marker"))
    }
}
