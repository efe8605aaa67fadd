//! Small fakes: packages, sealing, credentials, the platform's endpoint.

use freehold_domain::{
    BoxFuture,
    ids::{CoreId, Digest, FunctionRef, InstanceId, TenantId},
    network::NetworkId,
    ports::{
        CallChain, Caller, InstanceCredentials, InstanceNames, NetworkIo, PackageError, Packages,
        PlatformEndpoint, SealError, Sealer, SessionKey, SessionUse,
    },
    record::Sealed,
    time::Mono,
    traffic::Carried,
};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    fs::File,
    os::fd::OwnedFd,
    sync::{Arc, Weak},
};

/// Packages that exist, whatever their digest, unless told otherwise.
#[derive(Debug, Default)]
pub struct FakePackages {
    failures: Mutex<HashMap<Digest, PackageError>>,
}

impl FakePackages {
    /// Opening `digest` fails from now on.
    pub fn fail(&self, digest: Digest, error: PackageError) {
        self.failures.lock().insert(digest, error);
    }

    /// Opening `digest` succeeds again.
    pub fn mend(&self, digest: Digest) {
        self.failures.lock().remove(&digest);
    }
}

impl Packages for FakePackages {
    fn open(
        &self,
        _tenant: &TenantId,
        digest: Digest,
    ) -> BoxFuture<'_, Result<Arc<OwnedFd>, PackageError>> {
        let failure = self.failures.lock().get(&digest).cloned();
        Box::pin(async move {
            match failure {
                Some(error) => Err(error),
                None => Ok(Arc::new(nothing())),
            }
        })
    }
}

/// A descriptor of nothing.
pub(crate) fn nothing() -> OwnedFd {
    File::open("/dev/null")
        .expect("every Linux has /dev/null")
        .into()
}

/// Seals by writing the context in front: opens only with the same one. Hides nothing.
#[derive(Debug, Default)]
pub struct FakeSealer;

impl Sealer for FakeSealer {
    fn seal(&self, plain: &[u8], context: &str) -> Sealed {
        let text = format!("{context}\n{}", String::from_utf8_lossy(plain));
        Sealed {
            key: 1,
            nonce: String::new(),
            text,
        }
    }
    fn open(&self, sealed: &Sealed, context: &str) -> Result<Vec<u8>, SealError> {
        let plain = sealed
            .text
            .strip_prefix(context)
            .and_then(|rest| rest.strip_prefix('\n'));
        plain
            .map(|plain| plain.as_bytes().to_vec())
            .ok_or_else(|| SealError {
                key: sealed.key,
                context: context.to_owned(),
            })
    }
}

/// Credentials, counted: those that were issued and not revoked are live.
#[derive(Debug, Default)]
pub struct FakeCredentials {
    live: Mutex<HashMap<InstanceId, TenantId>>,
    issued: Mutex<Vec<SessionUse>>,
    ends: Mutex<Option<Mono>>,
}

impl FakeCredentials {
    /// How many are live.
    pub fn live(&self) -> usize {
        self.live.lock().len()
    }

    /// What those that were issued are for, in their order.
    pub fn issued(&self) -> Vec<SessionUse> {
        self.issued.lock().clone()
    }

    /// Those issued from now on end then.
    pub fn set_end(&self, at: Mono) {
        *self.ends.lock() = Some(at);
    }
}

impl InstanceCredentials for FakeCredentials {
    fn issue(
        &self,
        function: &FunctionRef,
        _role: &str,
        instance: InstanceId,
        of: SessionUse,
    ) -> SessionKey {
        self.issued.lock().push(of);
        let tenant = function.tenant.clone();
        self.live.lock().insert(instance, tenant);
        SessionKey {
            access_key_id: "ASIAFAKEFAKEFAKEFAKE".to_owned(),
            secret: "secret".to_owned(),
            session_token: instance.to_string(),
            endpoint_token: format!("token of {instance}"),
            ends: self.ends.lock().unwrap_or(Mono(u64::MAX)),
        }
    }
    fn current(&self, _instance: InstanceId, _endpoint_token: &str) -> Option<SessionKey> {
        None
    }
    fn revoke(&self, instance: InstanceId) {
        self.live.lock().remove(&instance);
    }
    fn revoke_all(&self, tenant: &TenantId) {
        self.live.lock().retain(|_, of| of != tenant);
    }
}

/// An endpoint that serves nothing and counts its guards.
#[derive(Default)]
pub struct FakePlatform {
    guards: Arc<()>,
    chains: Mutex<Vec<Weak<dyn CallChain>>>,
    networks: Mutex<Vec<NetworkId>>,
    carried: Mutex<Vec<Arc<Carried>>>,
}

impl std::fmt::Debug for FakePlatform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FakePlatform({} live)", self.live())
    }
}

impl FakePlatform {
    /// Guards that are held.
    pub fn live(&self) -> usize {
        Arc::strong_count(&self.guards) - 1
    }

    /// The policy of each instance so far, in the order of their starts.
    pub fn networks(&self) -> Vec<NetworkId> {
        self.networks.lock().clone()
    }

    /// What is carried for each instance so far, in the order of their starts, for a test to add to.
    pub fn carried(&self) -> Vec<Arc<Carried>> {
        self.carried.lock().clone()
    }

    /// Who calls out of each live instance now, in the order of their starts.
    pub fn callers(&self) -> Vec<Option<Caller>> {
        let chains = self.chains.lock();
        let live = chains.iter().filter_map(Weak::upgrade);
        live.map(|chain| chain.caller()).collect()
    }
}

impl InstanceNames for FakePlatform {
    fn serve(
        &self,
        _io: NetworkIo,
        network: NetworkId,
        _core: CoreId,
        carried: Arc<Carried>,
    ) -> Box<dyn Send + Sync> {
        self.carried.lock().push(carried);
        self.networks.lock().push(network);
        Box::new(())
    }
}

impl PlatformEndpoint for FakePlatform {
    fn serve(
        &self,
        _listener: OwnedFd,
        _function: &FunctionRef,
        _instance: InstanceId,
        chain: Arc<dyn CallChain>,
    ) -> Box<dyn Send + Sync> {
        self.chains.lock().push(Arc::downgrade(&chain));
        Box::new((self.guards.clone(), chain))
    }
}
