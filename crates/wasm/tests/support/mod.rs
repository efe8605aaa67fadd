//! A host with a folder of its own, packages on disk, and a log that remembers.

#![allow(dead_code, missing_docs)]

use freehold_domain::{
    BoxFuture, Digest,
    answers::Answers,
    body::Body,
    ids::{FunctionRef, InstanceId, InvocationId, Mebibytes},
    limits::Limits,
    ports::{
        CodeError, GuestCall, GuestCode, GuestOutput, GuestStream, InProcess, InProcessInstance,
        InProcessSpec,
    },
    time::Wall,
    trace::TraceHeader,
};
use freehold_wasm::{Compile, Compiled, HostParts, InThisProcess, WasmHost};
use std::{
    fs::File,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::Semaphore;
use uuid::Uuid;

pub struct World {
    dir: Arc<tempfile::TempDir>,
    host: Arc<WasmHost>,
    compiler: Arc<Counting>,
    output: Arc<Remembers>,
    pub answers: Arc<Answers>,
}

/// Compiles here, as soon as it may, and counts.
struct Counting {
    begun: AtomicU64,
    may: Semaphore,
}

impl Compile for Counting {
    fn compile(&self, module: Vec<u8>) -> BoxFuture<'_, Result<Compiled, CodeError>> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let _may = self.may.acquire().await.unwrap();
            InThisProcess.compile(module).await
        })
    }
}

#[derive(Default)]
pub struct Remembers(Mutex<Vec<(GuestStream, Vec<u8>)>>);

impl GuestOutput for Remembers {
    fn write(&self, stream: GuestStream, bytes: &[u8]) {
        self.0.lock().unwrap().push((stream, bytes.to_vec()));
    }
}

impl World {
    pub fn new() -> Self {
        Self::with_memory(8 << 30)
    }

    /// On a node with so much memory for functions.
    pub fn with_memory(bytes: u64) -> Self {
        Self::on(Arc::new(tempfile::tempdir().unwrap()), [7; 32], bytes)
    }

    /// Compilations begin and do not end, until they may.
    pub fn hold_compiler(&self) {
        self.compiler.may.forget_permits(usize::MAX);
    }

    pub fn let_compiler_go(&self) {
        self.compiler.may.add_permits(1);
    }

    /// Another host on the same folder.
    pub fn again(&self, key: [u8; 32]) -> Self {
        Self::on(self.dir.clone(), key, 8 << 30)
    }

    fn on(dir: Arc<tempfile::TempDir>, key: [u8; 32], memory_bytes: u64) -> Self {
        let compiler = Arc::new(Counting {
            begun: AtomicU64::new(0),
            may: Semaphore::new(1),
        });
        let answers = Answers::new(Limits::default().into(), Arc::default());
        let host = WasmHost::new(HostParts {
            compiled: dir.path().join("compiled"),
            key,
            compiler: compiler.clone(),
            threads: 1,
            functions_memory_bytes: Some(memory_bytes),
            answers: answers.clone(),
        });
        Self {
            dir,
            host: host.unwrap(),
            compiler,
            output: Arc::default(),
            answers,
        }
    }

    /// A package with this module as `function.wasm`.
    pub fn package(&self, module: &[u8]) -> tempfile::TempDir {
        let package = tempfile::tempdir().unwrap();
        std::fs::write(package.path().join("function.wasm"), module).unwrap();
        package
    }

    pub fn output(&self) -> Arc<Remembers> {
        self.output.clone()
    }

    pub fn log(&self, of: GuestStream) -> String {
        let log = self.output.0.lock().unwrap();
        let own = log.iter().filter(|(stream, _)| *stream == of);
        let bytes: Vec<u8> = own.flat_map(|(_, bytes)| bytes.clone()).collect();
        String::from_utf8(bytes).unwrap()
    }

    pub fn compilations(&self) -> u64 {
        self.compiler.begun.load(Ordering::Relaxed)
    }

    pub async fn start(
        &self,
        package: &tempfile::TempDir,
        memory_mib: u32,
    ) -> Result<InProcessInstance, CodeError> {
        self.host_start(spec(package, memory_mib, self.output()))
            .await
    }

    pub async fn host_start(&self, spec: InProcessSpec) -> Result<InProcessInstance, CodeError> {
        self.host.start(spec).await
    }

    pub async fn prepare(
        &self,
        package: &tempfile::TempDir,
        memory_mib: u32,
    ) -> Result<(), CodeError> {
        let code = spec(package, memory_mib, self.output()).code;
        self.prepare_code(code, memory_mib).await
    }

    pub async fn prepare_code(&self, code: GuestCode, memory_mib: u32) -> Result<(), CodeError> {
        self.host.prepare(code, Mebibytes(memory_mib)).await
    }
}

/// The package's path stands for its digest.
fn digest_of(path: &Path) -> Digest {
    let mut digest = [0; 32];
    for (at, byte) in path.to_string_lossy().bytes().enumerate() {
        digest[at % 32] ^= byte.rotate_left((at / 32) as u32);
    }
    Digest(digest)
}

pub fn spec(package: &tempfile::TempDir, memory_mib: u32, output: Arc<Remembers>) -> InProcessSpec {
    let tree = File::open(package.path()).unwrap();
    InProcessSpec {
        instance: InstanceId(Uuid::from_u128(1)),
        code: GuestCode {
            tenant: "123456789012".parse().unwrap(),
            package: digest_of(package.path()),
            tree: Arc::new(tree.into()),
            file: "function.wasm".to_owned(),
        },
        env: vec![("GREETING".to_owned(), "hello".to_owned())],
        memory: Mebibytes(memory_mib),
        limits: Limits::default().into(),
        output,
    }
}

pub fn call(event: &str) -> GuestCall {
    let id = Uuid::from_u128(2);
    GuestCall {
        id: InvocationId(id),
        function: FunctionRef {
            tenant: "123456789012".parse().unwrap(),
            region: "us-east-1".parse().unwrap(),
            name: "f".parse().unwrap(),
        },
        qualifier: None,
        deadline: Wall::from_millis(1_700_000_000_000),
        trace: TraceHeader::new_root(id),
        client_context: None,
        by_url: None,
        body: Body::full(event.to_owned()),
    }
}

/// A module from its text.
pub fn printing(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// Reads standard input to its end and writes it back.
pub fn echo() -> Vec<u8> {
    printing(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 2)
            (func (export "_start")
                (loop $again
                    (i32.store (i32.const 0) (i32.const 1024))
                    (i32.store (i32.const 4) (i32.const 65536))
                    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
                    (i32.store (i32.const 4) (i32.load (i32.const 8)))
                    (if (i32.load (i32.const 8)) (then
                        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
                        (br $again))))))"#,
    )
}
