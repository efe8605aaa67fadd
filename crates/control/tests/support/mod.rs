//! A control plane over a store in memory, and hand-made archives.
#![allow(dead_code)] // each test file uses its own part

use bytes::Bytes;
use freehold_control::{
    Control, ControlError, ControlParts, Described, NewFunction, Place, ResolvedRuntime,
    RuntimeCheck, Settings,
    archive::{InProcessUnpacker, Unpacker},
    packages::{PackageParts, PackageStore},
};
use freehold_domain::{
    BoxFuture, FunctionRef, Mono, Principal, Wall,
    budgets::Budgets,
    ids::TenantId,
    limits::Limits,
    ports::{
        Clock, CodeError, Expect, Fence, Ids, NotUp, Op, Records, SealError, Sealer, Starts,
        Storage,
    },
    record::{
        self, FunctionStateV1, FunctionV1, Key, RevisionSpecV1, Sealed, TargetV1, TenantV2,
        UpdateStateV1,
    },
};
use freehold_testkit::storage::MemoryStorage;
use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

/// 2026-11-21, and a little later with every look; deadlines move when they are told to.
#[derive(Default)]
pub struct TestClock {
    pub wall: AtomicI64,
    pub mono: AtomicU64,
}
impl Clock for TestClock {
    fn now(&self) -> Mono {
        Mono(self.mono.load(Ordering::Relaxed))
    }
    fn wall(&self) -> Wall {
        Wall(self.wall.fetch_add(1000, Ordering::Relaxed))
    }
    fn sleep_until(&self, _: Mono) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

pub fn clock() -> Arc<TestClock> {
    Arc::new(TestClock {
        wall: AtomicI64::new(1_795_219_200_000_000),
        mono: AtomicU64::new(0),
    })
}

pub struct TestIds;
impl Ids for TestIds {
    fn uuid(&self) -> uuid::Uuid {
        uuid::Uuid::now_v7()
    }
    fn random(&self) -> u64 {
        4
    }
}

/// No secrecy, but the context counts.
pub struct TestSealer;
impl Sealer for TestSealer {
    fn seal(&self, plain: &[u8], context: &str) -> Sealed {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(plain);
        Sealed {
            key: 1,
            nonce: uuid::Uuid::now_v7().to_string(),
            text: format!("{context}\n{text}"),
        }
    }
    fn open(&self, sealed: &Sealed, context: &str) -> Result<Vec<u8>, SealError> {
        use base64::Engine;
        let wrong = || SealError {
            key: sealed.key,
            context: context.into(),
        };
        let (found, text) = sealed.text.split_once('\n').ok_or_else(wrong)?;
        if found != context {
            return Err(wrong());
        }
        base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_err(|_| wrong())
    }
}

pub struct TestRuntimes;
impl RuntimeCheck for TestRuntimes {
    fn resolve(&self, name: &str) -> Result<ResolvedRuntime, String> {
        match name {
            "python3.12" | "nodejs20.x" => Ok(ResolvedRuntime {
                name: name.parse().expect("a literal"),
                substitute: None,
            }),
            _ => Err("install python3.12 or nodejs20.x".into()),
        }
    }

    fn judge(&self, _: &TenantId, spec: &RevisionSpecV1) -> BoxFuture<'_, Result<(), CodeError>> {
        let busy = CodeError::Failed {
            reason: "every place is taken".to_owned(),
            is_busy: true,
        };
        let is_busy = spec.handler.as_deref() == Some(BUSY_HANDLER);
        Box::pin(std::future::ready(if is_busy { Err(busy) } else { Ok(()) }))
    }
}

/// Code with this handler finds others' in its way.
pub const BUSY_HANDLER: &str = "busy.handler";

/// What is said here does not start.
#[derive(Default)]
pub struct TestStarts {
    pub fails: parking_lot::Mutex<Option<NotUp>>,
    pub asked: AtomicU64,
}
impl Starts for TestStarts {
    fn comes_up<'a>(&'a self, _: &'a FunctionRef, _: TargetV1) -> BoxFuture<'a, Result<(), NotUp>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let fails = self.fails.lock().clone();
        Box::pin(std::future::ready(fails.map_or(Ok(()), Err)))
    }
}

pub struct World {
    pub starts: Arc<TestStarts>,
    pub control: Arc<Control>,
    pub packages: Arc<PackageStore>,
    pub storage: Arc<dyn Storage>,
    pub place: Place,
    pub who: Principal,
    pub dir: tempfile::TempDir,
    pub clock: Arc<TestClock>,
    pub budgets: Arc<Budgets>,
}

pub async fn world() -> World {
    world_with(Limits::default()).await
}

pub async fn world_with(limits: Limits) -> World {
    let clock = clock();
    let storage: Arc<dyn Storage> = MemoryStorage::new(clock.clone());
    let dir = tempfile::tempdir().unwrap();
    let unpacker: Arc<dyn Unpacker> = Arc::new(InProcessUnpacker);
    let packages = PackageStore::open(PackageParts {
        dir: dir.path().join("packages"),
        storage: storage.clone(),
        unpacker,
        limits: limits.into(),
        clock: clock.clone(),
    })
    .unwrap();
    let place = Place {
        tenant: "111111111111".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
    };
    let regions = vec![place.region.clone()];
    let tenant = TenantV2::new(place.tenant.clone(), regions, clock.wall());
    let op = Op::Put {
        key: Key::tenant_record(&place.tenant),
        expect: Expect::Absent,
        bytes: record::encode(&tenant),
    };
    let platform = Principal::platform("test");
    storage
        .commit(&platform, vec![op], Fence::None)
        .await
        .unwrap();
    let budgets = Arc::new(Budgets::new(1));
    let starts = Arc::<TestStarts>::default();
    let control = Control::new(ControlParts {
        starts: starts.clone(),
        storage: storage.clone(),
        clock: clock.clone(),
        ids: Arc::new(TestIds),
        sealer: Arc::new(TestSealer),
        limits: limits.into(),
        budgets: budgets.clone(),
        runtimes: Arc::new(TestRuntimes),
        packages: packages.clone(),
        architecture: "x86_64",
        networks: Arc::default(),
        refuses_tenants: false,
    });
    let who = Principal::Root {
        tenant: place.tenant.clone(),
        key: "AKIATEST".into(),
    };
    World {
        starts,
        control,
        packages,
        storage,
        place,
        who,
        dir,
        clock,
        budgets,
    }
}

impl World {
    pub fn of(&self, name: &str) -> FunctionRef {
        FunctionRef {
            tenant: self.place.tenant.clone(),
            region: self.place.region.clone(),
            name: name.parse().unwrap(),
        }
    }

    /// A control plane that begins anew over the same store.
    pub fn another(&self) -> Arc<Control> {
        self.another_with(Arc::new(Budgets::new(1)))
    }

    /// The same with these budgets.
    pub fn another_with(&self, budgets: Arc<Budgets>) -> Arc<Control> {
        Control::new(self.parts(budgets))
    }

    /// The same on a node whose instances have one user id.
    pub fn another_of_one_uid(&self) -> Arc<Control> {
        Control::new(ControlParts {
            refuses_tenants: true,
            ..self.parts(Arc::new(Budgets::new(1)))
        })
    }

    fn parts(&self, budgets: Arc<Budgets>) -> ControlParts {
        ControlParts {
            starts: self.starts.clone(),
            storage: self.storage.clone(),
            clock: self.clock.clone(),
            ids: Arc::new(TestIds),
            sealer: Arc::new(TestSealer),
            limits: Limits::default().into(),
            budgets,
            runtimes: Arc::new(TestRuntimes),
            packages: self.packages.clone(),
            architecture: "x86_64",
            networks: Arc::default(),
            refuses_tenants: false,
        }
    }

    pub async fn create(&self, name: &str) -> Result<Described, ControlError> {
        self.control
            .function_create(&self.who, &self.place, new_function(name))
            .await
    }

    /// A function that the engine has made ready.
    pub async fn ready(&self, name: &str) -> FunctionRef {
        self.create(name).await.unwrap();
        let of = self.of(name);
        self.reconcile(&of).await;
        of
    }

    /// What the engine's reconciler does.
    pub async fn reconcile(&self, of: &FunctionRef) {
        let platform = Principal::platform("engine");
        let key = Key::function(&of.tenant, &of.region, &of.name);
        let stored = Records::get(&*self.storage, &platform, &key)
            .await
            .unwrap()
            .unwrap();
        let mut function: FunctionV1 = record::decode(&stored.bytes).unwrap();
        function.head.revision_id = uuid::Uuid::now_v7().to_string();
        function.served = Some(function.head.clone());
        function.state = FunctionStateV1::Active;
        function.last_update = UpdateStateV1::Successful;
        let op = Op::Put {
            key,
            expect: Expect::Version(stored.version),
            bytes: record::encode(&function),
        };
        self.storage
            .commit(&platform, vec![op], Fence::None)
            .await
            .unwrap();
    }
}

pub fn settings() -> Settings {
    Settings {
        runtime: Some("python3.12".into()),
        handler: Some("app.handler".into()),
        role: Some("arn:aws:iam::111111111111:role/r".into()),
        ..Default::default()
    }
}

pub fn new_function(name: &str) -> NewFunction {
    NewFunction {
        name: name.parse().unwrap(),
        zip: zip_of(&[("app.py", b"def handler(e, c): return e\n")]),
        settings: settings(),
        architectures: None,
        tags: Default::default(),
        publish: false,
    }
}

/// A plain archive of stored files.
pub fn zip_of(files: &[(&str, &[u8])]) -> Bytes {
    let mut zip = Zip::default();
    for (name, data) in files {
        zip.add(Item::file(name.as_bytes(), data));
    }
    zip.finish().into()
}

/// One entry, every field of which can lie.
#[derive(Clone)]
pub struct Item {
    pub name: Vec<u8>,
    pub local_name: Vec<u8>,
    pub data: Vec<u8>,
    pub mode: u32,
    pub made_by: u16,
    pub flags: u16,
    pub method: u16,
    pub crc: u32,
    pub packed: u32,
    pub bytes: u32,
    pub local_sizes: Option<[u32; 3]>,
    pub central_extra: Vec<u8>,
    pub local_extra: Vec<u8>,
    pub trailer: Vec<u8>,
    pub offset: Option<u32>,
}

impl Item {
    pub fn file(name: &[u8], data: &[u8]) -> Self {
        Self {
            name: name.into(),
            local_name: name.into(),
            data: data.into(),
            mode: 0o100_644,
            made_by: 3 << 8,
            flags: 0,
            method: 0,
            crc: crc32fast::hash(data),
            packed: data.len() as u32,
            bytes: data.len() as u32,
            local_sizes: None,
            central_extra: vec![],
            local_extra: vec![],
            trailer: vec![],
            offset: None,
        }
    }
    pub fn deflated(name: &[u8], data: &[u8]) -> Self {
        use std::io::Write;
        let mut deflate =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        deflate.write_all(data).unwrap();
        let packed = deflate.finish().unwrap();
        Self {
            method: 8,
            packed: packed.len() as u32,
            data: packed,
            crc: crc32fast::hash(data),
            bytes: data.len() as u32,
            ..Self::file(name, b"")
        }
    }
    pub fn link(name: &[u8], to: &[u8]) -> Self {
        Self {
            mode: 0o120_777,
            ..Self::file(name, to)
        }
    }
    pub fn folder(name: &[u8]) -> Self {
        Self {
            mode: 0o040_755,
            ..Self::file(name, b"")
        }
    }
}

/// An archive in the making; `end` may be changed before it is finished.
#[derive(Default)]
pub struct Zip {
    pub bytes: Vec<u8>,
    pub central: Vec<u8>,
    pub entries: u16,
}

impl Zip {
    pub fn add(&mut self, item: Item) -> &mut Self {
        let offset = item.offset.unwrap_or(self.bytes.len() as u32);
        if item.offset.is_none() {
            let [crc, packed, bytes] =
                item.local_sizes
                    .unwrap_or([item.crc, item.packed, item.bytes]);
            let out = &mut self.bytes;
            out.extend(0x0403_4b50u32.to_le_bytes());
            for half in [20, item.flags, item.method, 0, 0] {
                out.extend(half.to_le_bytes());
            }
            for word in [crc, packed, bytes] {
                out.extend(word.to_le_bytes());
            }
            out.extend((item.local_name.len() as u16).to_le_bytes());
            out.extend((item.local_extra.len() as u16).to_le_bytes());
            out.extend(&item.local_name);
            out.extend(&item.local_extra);
            out.extend(&item.data);
            out.extend(&item.trailer);
        }
        let out = &mut self.central;
        out.extend(0x0201_4b50u32.to_le_bytes());
        for half in [item.made_by | 30, 20, item.flags, item.method, 0, 0] {
            out.extend(half.to_le_bytes());
        }
        for word in [item.crc, item.packed, item.bytes] {
            out.extend(word.to_le_bytes());
        }
        let extra = item.central_extra.len() as u16;
        for half in [item.name.len() as u16, extra, 0, 0, 0] {
            out.extend(half.to_le_bytes());
        }
        out.extend((item.mode << 16).to_le_bytes());
        out.extend(offset.to_le_bytes());
        out.extend(&item.name);
        out.extend(&item.central_extra);
        self.entries += 1;
        self
    }

    pub fn finish(&self) -> Vec<u8> {
        let mut out = self.bytes.clone();
        out.extend(&self.central);
        out.extend(0x0605_4b50u32.to_le_bytes());
        for half in [0, 0, self.entries, self.entries] {
            out.extend(half.to_le_bytes());
        }
        out.extend((self.central.len() as u32).to_le_bytes());
        out.extend((self.bytes.len() as u32).to_le_bytes());
        out.extend([0, 0]);
        out
    }
}
