//! Archives in the blob store and their unpacked trees on disk.
//!
//! ```text
//! <data>/packages/boot                              the boot in which the trees were written
//! <data>/packages/<tenant>/<digest>/tree/…          an unpacked archive
//! <data>/packages/<tenant>/<digest>/unpacked.json   files and bytes of it
//! <data>/packages/<tenant>/<digest>.tmp-<n>/…       being unpacked; else removed when met
//! <data>/packages/<tenant>/<digest>.gone-<n>/…      being removed; else removed when met
//! ```
//!
//! A tree is written aside and renamed whole, so a killed server leaves a complete tree or none. A
//! tree can always be made again from its blob: instead of syncing thousands of small files, trees
//! of an earlier boot, which a power cut may have torn, are dropped (decision 0007). A tree's
//! folder is made before its blob is stored, and so names every blob that a crash may have left
//! unreferenced: [`PackageStore::collect`] needs no list of blobs.

mod aside;
mod doors;

pub use self::doors::DOORS_MAX;
use self::{
    aside::{Aside, Asides},
    doors::Doors,
};
use crate::{
    ControlError, Field,
    archive::{UnpackError, UnpackLimits, Unpacked, Unpacker},
    longest::Longest,
    store,
};
use bytes::Bytes;
use freehold_domain::{
    BoxFuture, Digest, Mono, Principal, TenantId,
    limits::Limits,
    live::Live,
    ports::{
        Blobs, Clock, CommitError, LIBRARY_MODULES, PackageError, Packages, ReadError, Storage,
    },
    record::{self, FunctionV1, Kind, PackageV1, RevisionV1},
};
use parking_lot::Mutex;
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::{fd::OwnedFd, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::OnceCell;

/// What an instance may take to end beyond its function's timeout.
const RETIRE: Duration = Duration::from_secs(60);

/// What a [`PackageStore`] is made of.
pub struct PackageParts {
    /// `<data>/packages`; made where it is missing.
    pub dir: PathBuf,
    /// Where the blobs are, and the records that refer to them.
    pub storage: Arc<dyn Storage>,
    /// Unpacks.
    pub unpacker: Arc<dyn Unpacker>,
    /// Ceilings.
    pub limits: Live<Limits>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// Archives and trees of one node.
pub struct PackageStore {
    dir: PathBuf,
    storage: Arc<dyn Storage>,
    unpacker: Arc<dyn Unpacker>,
    limits: Live<Limits>,
    longest: Arc<Longest>,
    clock: Arc<dyn Clock>,
    trees: Mutex<HashMap<(TenantId, Digest), Arc<Tree>>>,
    /// Their descriptors, as far as they are open.
    doors: Doors,
    /// Since when no record has referred to a tree that was used in this process.
    unreferred: Mutex<HashMap<(TenantId, Digest), Mono>>,
    /// Folders that are on their way in or out.
    asides: Arc<Asides>,
}

/// One digest's tree, seen to once however many ask at the same time.
#[derive(Default)]
struct Tree {
    /// What is in it, once it is known to be on disk.
    unpacked: OnceCell<Unpacked>,
}

/// A tree that was just unpacked, or found.
struct Opened {
    tree: OwnedFd,
    unpacked: Unpacked,
}

/// An archive that was checked, unpacked and stored. Keep it until the record that refers to it
/// is written: so long it is not collected.
pub struct Admitted {
    package: PackageV1,
    _pin: Arc<Tree>,
}

impl Admitted {
    /// The package, for a record.
    pub fn package(&self) -> &PackageV1 {
        &self.package
    }
}

impl PackageStore {
    /// Opens the folder, and removes what crashes and earlier boots left.
    pub fn open(parts: PackageParts) -> io::Result<Arc<Self>> {
        let store = Self {
            dir: parts.dir,
            storage: parts.storage,
            unpacker: parts.unpacker,
            longest: Arc::new(Longest::new(parts.limits.clone())),
            limits: parts.limits,
            clock: parts.clock,
            trees: Mutex::default(),
            doors: Doors::default(),
            unreferred: Mutex::default(),
            asides: Arc::default(),
        };
        make_folder(&store.dir)?;
        // Without an answer every start counts as a new boot.
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let marker = store.dir.join("boot");
        let same_boot = !boot.is_empty() && fs::read_to_string(&marker).ok() == Some(boot.clone());
        for tenant in folders(&store.dir)? {
            for entry in folders(&tenant)? {
                let whole = entry.extension().is_none();
                if !whole {
                    fs::remove_dir_all(&entry)?;
                } else if !same_boot {
                    // The folder itself stays: it names a blob for `collect`.
                    let tree = entry.join("tree");
                    if tree.exists() {
                        fs::remove_dir_all(tree)?;
                    }
                }
            }
        }
        fs::write(&marker, boot)?;
        Ok(Arc::new(store))
    }

    /// The longest runs that may be going on.
    pub(crate) fn longest(&self) -> Arc<Longest> {
        self.longest.clone()
    }

    /// Checks, unpacks and stores an uploaded archive.
    ///
    /// Errors: [`ControlError::CodeTooLarge`], [`ControlError::BadArchive`],
    /// [`ControlError::DiskFull`].
    pub async fn admit(
        &self,
        who: &Principal,
        tenant: &TenantId,
        zip: Bytes,
    ) -> Result<Admitted, ControlError> {
        let found_bytes = zip.len() as u64;
        self.may_be_admitted(found_bytes)?;
        let bytes = zip.clone();
        let digest = tokio::task::spawn_blocking(move || sha256(&bytes))
            .await
            .map_err(|error| ControlError::internal("hashing a package", error))?;
        let pin = self.tree(tenant, digest);
        let unpacked = pin
            .unpacked
            .get_or_try_init(|| self.open_or_unpack(tenant, digest, Some(zip.clone())))
            .await
            .map_err(|error| match error {
                OpenError::Unpack(UnpackError::Refused(source)) => {
                    ControlError::BadArchive { source }
                }
                OpenError::Unpack(UnpackError::DiskFull) => ControlError::DiskFull,
                other => ControlError::internal("unpacking a package", other.to_string()),
            })?;
        let unpacked_bytes = unpacked.bytes;
        let tree = self.folder(tenant, digest).join("tree");
        let holds_libraries = on_files(move || holds_libraries(&tree)).await;
        let holds_libraries = holds_libraries
            .map_err(|error| ControlError::internal("looking into a package", error))?;
        let stored = Blobs::put(&*self.storage, who, tenant, zip).await?;
        if stored != digest {
            let reason = format!("the store calls {digest} {stored}");
            return Err(ControlError::internal("storing a package", reason));
        }
        Ok(Admitted {
            package: PackageV1 {
                digest,
                zip_bytes: found_bytes,
                unpacked_bytes,
                holds_libraries,
            },
            _pin: pin,
        })
    }

    /// Whether an archive of this size may be admitted at all.
    pub(crate) fn may_be_admitted(&self, found_bytes: u64) -> Result<(), ControlError> {
        let limit_bytes = self.limits.now().package_zip_bytes;
        if found_bytes == 0 {
            return Err(ControlError::invalid(Field::Code, "no archive was given"));
        }
        if found_bytes > limit_bytes {
            return Err(ControlError::CodeTooLarge {
                limit_bytes,
                found_bytes,
            });
        }
        Ok(())
    }

    fn tree(&self, tenant: &TenantId, digest: Digest) -> Arc<Tree> {
        let mut trees = self.trees.lock();
        trees.entry((tenant.clone(), digest)).or_default().clone()
    }

    fn folder(&self, tenant: &TenantId, digest: Digest) -> PathBuf {
        self.dir.join(tenant.as_str()).join(digest.to_string())
    }

    /// Sees to it that a tree is on disk, from `zip` or from its blob, and keeps it open.
    async fn open_or_unpack(
        &self,
        tenant: &TenantId,
        digest: Digest,
        zip: Option<Bytes>,
    ) -> Result<Unpacked, OpenError> {
        let opened = self.find_or_unpack(tenant, digest, zip).await?;
        self.doors.keep((tenant.clone(), digest), opened.tree);
        Ok(opened.unpacked)
    }

    async fn find_or_unpack(
        &self,
        tenant: &TenantId,
        digest: Digest,
        zip: Option<Bytes>,
    ) -> Result<Opened, OpenError> {
        let folder = self.folder(tenant, digest);
        let there = folder.clone();
        if let Some(opened) = on_files(move || Ok(open_tree(&there))).await? {
            return Ok(opened);
        }
        let zip = match zip {
            Some(zip) => zip,
            None => {
                let platform = Principal::platform("packages");
                Blobs::get(&*self.storage, &platform, tenant, digest)
                    .await?
                    .ok_or(OpenError::Missing)?
            }
        };
        // Goes with this future: a client that hangs up leaves nothing behind.
        let aside = self.asides.make(&folder, "tmp");
        let (aside, archive, target) = on_files(move || {
            let tree = aside.path().join("tree");
            make_folder(&tree)?;
            let target = open_folder(&tree, OFlags::RDONLY)?;
            Ok((aside, sealed_memory(&zip)?, target))
        })
        .await?;
        let limits = UnpackLimits::from(&self.limits.now());
        let unpacked = match self.unpacker.unpack(archive, target, limits).await {
            Ok(unpacked) => unpacked,
            Err(error) => {
                // Its client hears once nothing is left; a failure to clean up hides nothing.
                let _ = on_files(move || aside.remove()).await;
                return Err(error.into());
            }
        };
        // From here on the folder belongs to a thread, which finishes whoever hangs up.
        Ok(on_files(move || name_tree(aside, &folder, &unpacked)).await?)
    }

    /// The descriptor of a tree, which is unpacked and opened where need be.
    async fn door(&self, tenant: &TenantId, digest: Digest) -> Result<Arc<OwnedFd>, OpenError> {
        let key = (tenant.clone(), digest);
        let mut is_made_again = false;
        loop {
            // Held to the end: it says that the tree is in use.
            let tree = self.tree(tenant, digest);
            tree.unpacked
                .get_or_try_init(|| self.open_or_unpack(tenant, digest, None))
                .await?;
            if let Some(open) = self.doors.get(&key) {
                return Ok(open);
            }
            // Closed since nobody used it; or somebody removed it from the disk.
            let path = self.folder(tenant, digest).join("tree");
            match on_files(move || open_folder(&path, OFlags::PATH)).await {
                Ok(opened) => return Ok(self.doors.keep(key, opened)),
                Err(error) if error.kind() == io::ErrorKind::NotFound && !is_made_again => {
                    is_made_again = true;
                    self.forget(&key, &tree);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What is known of a tree that is not on disk any more.
    fn forget(&self, key: &(TenantId, Digest), gone: &Arc<Tree>) {
        let mut trees = self.trees.lock();
        if trees.get(key).is_some_and(|tree| Arc::ptr_eq(tree, gone)) {
            trees.remove(key);
        }
    }

    /// Removes trees and blobs to which no record refers; says how many. Spares whatever is being
    /// admitted, every tree whose descriptor somebody holds, and what instances may still run.
    ///
    /// Call it at start and now and then.
    pub async fn collect(&self) -> Result<u64, ControlError> {
        let (dir, asides) = (self.dir.clone(), self.asides.clone());
        let found = on_files(move || found_below(&dir, &asides)).await;
        let mut found =
            found.map_err(|error| ControlError::internal("collecting packages", error))?;
        let referred = self.referred().await?;
        found.retain(|key| !referred.contains(key));
        self.keep_for_instances(&mut found);
        let mut removed = 0;
        for key in found {
            let Some(tree) = self.set_aside(&key) else {
                continue;
            };
            // Removing is done as the tree's initialisation, which fails: whoever asks for the
            // tree meanwhile waits for it, and then makes it anew.
            let removal = || async { Err::<Unpacked, _>(self.remove(&key).await) };
            match tree.unpacked.get_or_try_init(removal).await {
                // Somebody asked in between, and uses it.
                Ok(_) => {}
                Err(outcome) => removed += u64::from(outcome?),
            }
            let mut trees = self.trees.lock();
            if Arc::strong_count(&tree) == 2 && !tree.unpacked.initialized() {
                trees.remove(&key);
            }
        }
        Ok(removed)
    }

    /// Leaves out of `found` what instances may still run: a tree that was opened here stays for
    /// the longest run of a function after the last record let go of it. Instances of a removed
    /// revision take nothing new, and no instance outlives this process.
    fn keep_for_instances(&self, found: &mut Vec<(TenantId, Digest)>) {
        let longest = self.longest.run() + RETIRE;
        let now = self.clock.now();
        let trees = self.trees.lock();
        let mut unreferred = self.unreferred.lock();
        unreferred.retain(|key, _| found.contains(key));
        found.retain(|key| {
            let opened = trees
                .get(key)
                .is_some_and(|tree| tree.unpacked.initialized());
            let since = *unreferred.entry(key.clone()).or_insert(now);
            !opened || now.since(since) >= longest
        });
    }

    /// Puts an unopened tree into the place of one that nobody uses; `None` when it is in use.
    fn set_aside(&self, key: &(TenantId, Digest)) -> Option<Arc<Tree>> {
        let mut trees = self.trees.lock();
        let asked = |tree: &Arc<Tree>| Arc::strong_count(tree) > 1;
        let used = trees.get(key).is_some_and(asked) || self.doors.is_held(key);
        (!used).then(|| {
            self.doors.close(key);
            let tree = Arc::new(Tree::default());
            trees.insert(key.clone(), tree.clone());
            tree
        })
    }

    /// Removes a tree and its blob; `false` when a record refers to them after all.
    async fn remove(&self, (tenant, digest): &(TenantId, Digest)) -> Result<bool, ControlError> {
        // Asked again, now that no admission can pass: one may have ended since the list.
        if self.referred().await?.contains(&(tenant.clone(), *digest)) {
            return Ok(false);
        }
        let platform = Principal::platform("packages");
        match Blobs::remove(&*self.storage, &platform, tenant, *digest).await {
            // A backup reads them all; the next round asks again.
            Err(CommitError::Unavailable { .. }) => return Ok(false),
            removed => removed?,
        }
        let folder = self.folder(tenant, *digest);
        let gone = self.asides.make(&folder, "gone");
        on_files(move || {
            fs::rename(&folder, gone.path())?;
            gone.remove()
        })
        .await
        .map(|()| true)
        .map_err(|error| ControlError::internal("removing a tree", error))
    }

    /// Every package to which a head, a served head or a revision refers.
    async fn referred(&self) -> Result<HashSet<(TenantId, Digest)>, ControlError> {
        let platform = Principal::platform("packages");
        let mut referred = HashSet::new();
        for kind in [Kind::Function, Kind::Revision] {
            let mut after = None;
            loop {
                let found = self
                    .storage
                    .list_all(&platform, kind, after.as_ref(), store::LIST_CHUNK)
                    .await?;
                for stored in &found {
                    let tenant = stored.key.tenant();
                    let mut refer = |digest| referred.insert((tenant.clone(), digest));
                    if kind == Kind::Function {
                        let function: FunctionV1 = record::decode(&stored.bytes)?;
                        refer(function.head.package.digest);
                        if let Some(served) = function.served {
                            refer(served.package.digest);
                        }
                    } else {
                        let revision: RevisionV1 = record::decode(&stored.bytes)?;
                        refer(revision.spec.package.digest);
                    }
                }
                match found.last() {
                    Some(last) if found.len() == store::LIST_CHUNK => {
                        after = Some(last.key.clone());
                    }
                    _ => break,
                }
            }
        }
        Ok(referred)
    }
}

impl Packages for PackageStore {
    fn open(
        &self,
        tenant: &TenantId,
        digest: Digest,
    ) -> BoxFuture<'_, Result<Arc<OwnedFd>, PackageError>> {
        let tenant = tenant.clone();
        Box::pin(async move {
            match self.door(&tenant, digest).await {
                Ok(tree) => Ok(tree),
                Err(OpenError::Missing) => Err(PackageError::Missing { digest }),
                Err(OpenError::Unpack(UnpackError::Refused(rule))) => Err(PackageError::Refused {
                    reason: rule.to_string(),
                }),
                Err(other) => Err(PackageError::Failed {
                    digest,
                    reason: other.to_string(),
                }),
            }
        })
    }
}

#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("its archive is not in the store")]
    Missing,
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Work on files, off the serving cores: they answer everybody's requests.
async fn on_files<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(io::Error::other)?
}

/// Gives an unpacked tree its name, and opens it.
fn name_tree(aside: Aside, folder: &Path, unpacked: &Unpacked) -> io::Result<Opened> {
    let unpacked = serde_json::to_vec(unpacked).map_err(io::Error::other)?;
    fs::write(aside.path().join("unpacked.json"), unpacked)?;
    aside.become_folder(folder)?;
    // The name must be on disk before the blob is, or nothing would lead to the blob.
    if let Some(parent) = folder.parent() {
        fs::File::open(parent)?.sync_all()?;
    }
    open_tree(folder).ok_or_else(|| io::Error::other("a tree that was just renamed is not there"))
}

/// Whether an interpreter that looks into this folder finds a module of one of [`LIBRARY_MODULES`]: a
/// folder of that name, or a file `<name>.py`, `<name>.so`, `<name>.cpython-313-x86_64-linux-gnu.so`.
fn holds_libraries(tree: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(tree)? {
        let name = entry?.file_name();
        let module = name.to_str().and_then(|name| name.split('.').next());
        if module.is_some_and(|module| LIBRARY_MODULES.contains(&module)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Every digest that has a folder. Removes folders that were on their way in or out, and that
/// nobody in this process holds.
fn found_below(dir: &Path, asides: &Asides) -> io::Result<Vec<(TenantId, Digest)>> {
    let mut found = Vec::new();
    for tenant in folders(dir)? {
        for folder in folders(&tenant)? {
            if folder.extension().is_some() {
                asides.remove_left(&folder)?;
                continue;
            }
            let id = tenant
                .file_name()
                .and_then(|name| name.to_str()?.parse().ok());
            let digest = folder
                .file_name()
                .and_then(|name| name.to_str()?.parse().ok());
            if let (Some(id), Some(digest)) = (id, digest) {
                found.push((id, digest));
            }
        }
    }
    Ok(found)
}

fn sha256(bytes: &[u8]) -> Digest {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    Digest(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

/// The bytes in memory that nobody can change any more, open for reading.
fn sealed_memory(bytes: &[u8]) -> io::Result<OwnedFd> {
    use std::io::Write;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = fs::File::from(rustix::fs::memfd_create("package", flags)?);
    file.write_all(bytes)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    Ok(file.into())
}

fn open_tree(folder: &Path) -> Option<Opened> {
    let unpacked = fs::read(folder.join("unpacked.json")).ok()?;
    let unpacked = serde_json::from_slice(&unpacked).ok()?;
    let tree = open_folder(&folder.join("tree"), OFlags::PATH).ok()?;
    Some(Opened { tree, unpacked })
}

fn open_folder(path: &Path, how: OFlags) -> io::Result<OwnedFd> {
    let flags = how | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// A folder for this process alone; guests get at a tree by its descriptor.
fn make_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

fn folders(of: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(of)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}
