//! Credentials of running instances: in memory only, bound to tenant, role and instance.
//!
//! They end with the instance and with the process; nothing of them is stored.

use crate::{
    keyring::{Ends, KeyEntry, KeySource},
    sigv4::same,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use freehold_domain::{
    FunctionRef, InstanceId, Mono, Principal, TenantId,
    ports::{Clock, InstanceCredentials, SessionKey, SessionUse},
};
use parking_lot::RwLock;
use ring::rand::{SecureRandom, SystemRandom};
use std::{collections::HashMap, sync::Arc, time::Duration};

/// Life of a session. An instance that lives longer is retired and replaced before.
pub const SESSION_LIFE: Duration = Duration::from_secs(12 * 3600);

/// An instance that asks this long before its session ends is given a new one. SDKs ask from a
/// quarter of an hour before the end.
pub const RENEWED_BEFORE: Duration = Duration::from_secs(3600);

/// How far ahead the end is that the init of a start image is told. An SDK keeps what it was told, and
/// the image's instances begin with it when its session is over; it asks again from so long before the
/// end on, by a clock that goes on:
///
/// | SDK | asks again before the end |
/// |---|---|
/// | Python (botocore) | 15 min, and not without an answer from 10 min on |
/// | Java 2 | 15 min; it holds for over what has a minute left |
/// | JavaScript 3 | 5 min, beside a call that still has the old one |
/// | Go 2 | 5 min |
///
/// So they do in an instance that was thawed at once, and others do minutes later. Less than a minute is
/// for Java, and nothing at all for botocore, no answer.
pub const TOLD_TO_IMAGES: Duration = Duration::from_secs(120);

/// What an instance has.
struct Session {
    of: SessionUse,
    key: SessionKey,
    /// The key before, which goes on to its own end: whoever has it may be signing with it.
    before: Option<String>,
    principal: Principal,
}

impl Session {
    /// Its key, with the end that the instance is told.
    fn told(&self, now: Mono) -> SessionKey {
        let mut key = self.key.clone();
        if self.of == SessionUse::StartImage {
            key.ends = key.ends.min(now + TOLD_TO_IMAGES);
        }
        key
    }
}

#[derive(Default)]
struct Held {
    by_key: HashMap<String, Arc<KeyEntry>>,
    by_instance: HashMap<InstanceId, Session>,
}

impl Held {
    fn begin(&mut self, key: &SessionKey, principal: &Principal) {
        let entry = KeyEntry {
            secret: key.secret.clone(),
            principal: principal.clone(),
            token: Some(key.session_token.clone()),
            enabled: true,
            ends: Some(Ends::After(key.ends)),
        };
        self.by_key
            .insert(key.access_key_id.clone(), Arc::new(entry));
    }

    fn end(&mut self, instance: InstanceId) {
        let Some(session) = self.by_instance.remove(&instance) else {
            return;
        };
        self.by_key.remove(&session.key.access_key_id);
        if let Some(before) = session.before {
            self.by_key.remove(&before);
        }
    }
}

/// The sessions of all live instances, in front of the long-lived keys.
pub struct Sessions {
    held: RwLock<Held>,
    random: SystemRandom,
    clock: Arc<dyn Clock>,
    behind: Arc<dyn KeySource>,
}

impl Sessions {
    /// `behind` answers for every key that is not a session's.
    pub fn new(clock: Arc<dyn Clock>, behind: Arc<dyn KeySource>) -> Self {
        Self {
            held: RwLock::default(),
            random: SystemRandom::new(),
            clock,
            behind,
        }
    }

    fn new_key(&self, endpoint_token: String) -> SessionKey {
        SessionKey {
            access_key_id: access_key_id("ASIA", self.random()),
            secret: STANDARD.encode(self.random::<30>()),
            session_token: STANDARD.encode(self.random::<96>()),
            endpoint_token,
            ends: self.clock.now() + SESSION_LIFE,
        }
    }

    fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random
            .fill(&mut bytes)
            .expect("the kernel's random source does not fail once seeded");
        bytes
    }
}

/// 20 characters of which the first four say what kind of key it is: `prefix` and base32.
pub fn access_key_id(prefix: &str, random: [u8; 16]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    prefix
        .chars()
        .chain(
            random
                .iter()
                .map(|byte| char::from(ALPHABET[usize::from(byte % 32)])),
        )
        .collect()
}

impl InstanceCredentials for Sessions {
    fn issue(
        &self,
        function: &FunctionRef,
        role: &str,
        instance: InstanceId,
        of: SessionUse,
    ) -> SessionKey {
        let principal = Principal::Instance {
            tenant: function.tenant.clone(),
            role: role.to_owned(),
            function: function.name.clone(),
            instance,
        };
        let key = self.new_key(hex::encode(self.random::<32>()));
        let mut held = self.held.write();
        held.end(instance);
        held.begin(&key, &principal);
        let session = Session {
            of,
            key: key.clone(),
            before: None,
            principal,
        };
        held.by_instance.insert(instance, session);
        key
    }

    fn current(&self, instance: InstanceId, endpoint_token: &str) -> Option<SessionKey> {
        let now = self.clock.now();
        let lasts = |session: &Session| {
            (session.key.ends.since(now) > RENEWED_BEFORE).then(|| session.told(now))
        };
        // Whoever verifies a signature reads here too: a guess holds nobody up.
        {
            let held = self.held.read();
            let session = held.by_instance.get(&instance)?;
            if !same(&session.key.endpoint_token, endpoint_token) {
                return None;
            }
            if let Some(key) = lasts(session) {
                return Some(key);
            }
        }
        let key = self.new_key(endpoint_token.to_owned());
        let mut held = self.held.write();
        // Ended or renewed meanwhile.
        let session = held.by_instance.get(&instance)?;
        if let Some(key) = lasts(session) {
            return Some(key);
        }
        let principal = session.principal.clone();
        held.begin(&key, &principal);
        let session = held.by_instance.get_mut(&instance)?;
        let last = std::mem::replace(&mut session.key, key);
        // Of two before, the first is over: nobody has more than two at a time.
        let over = session.before.replace(last.access_key_id);
        let told = session.told(now);
        if let Some(over) = over {
            held.by_key.remove(&over);
        }
        Some(told)
    }

    fn revoke(&self, instance: InstanceId) {
        self.held.write().end(instance);
    }

    fn revoke_all(&self, tenant: &TenantId) {
        let mut held = self.held.write();
        let sessions = held.by_instance.iter();
        let ended: Vec<_> = sessions
            .filter(|(_, session)| session.principal.tenant() == Some(tenant))
            .map(|(instance, _)| *instance)
            .collect();
        for instance in ended {
            held.end(instance);
        }
    }
}

impl KeySource for Sessions {
    fn lookup(&self, access_key_id: &str) -> Option<Arc<KeyEntry>> {
        if access_key_id.starts_with("ASIA") {
            return self.held.read().by_key.get(access_key_id).cloned();
        }
        self.behind.lookup(access_key_id)
    }

    fn bars(&self, tenant: &TenantId) -> bool {
        self.behind.bars(tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_domain::{BoxFuture, Wall};
    use parking_lot::Mutex;

    /// Two times that go each its own way.
    struct Stepped(Mutex<(Mono, Wall)>);

    impl Stepped {
        fn new() -> Arc<Self> {
            Arc::new(Self(Mutex::new((Mono(0), Wall::from_millis(1_000_000)))))
        }
        /// Time passes.
        fn pass(&self, by: Duration) {
            let mut at = self.0.lock();
            *at = (at.0 + by, at.1 + by);
        }
        /// Somebody sets the wall clock.
        fn step(&self, by_s: i64) {
            self.0.lock().1.0 += by_s * 1_000_000;
        }
    }

    impl Clock for Stepped {
        fn now(&self) -> Mono {
            self.0.lock().0
        }
        fn wall(&self) -> Wall {
            self.0.lock().1
        }
        fn sleep_until(&self, _: Mono) -> BoxFuture<'static, ()> {
            Box::pin(std::future::ready(()))
        }
    }

    struct Nobody;
    impl KeySource for Nobody {
        fn lookup(&self, _: &str) -> Option<Arc<KeyEntry>> {
            None
        }
        fn bars(&self, _: &TenantId) -> bool {
            false
        }
    }

    const HOUR: Duration = Duration::from_secs(3600);

    fn instance(number: u8) -> InstanceId {
        format!("00000000-0000-7000-8000-0000000000{number:02}")
            .parse()
            .unwrap()
    }

    fn issue(sessions: &Sessions, number: u8) -> SessionKey {
        issue_for(sessions, number, SessionUse::Invocations)
    }

    fn issue_for(sessions: &Sessions, number: u8, of: SessionUse) -> SessionKey {
        issue_as(sessions, number, "111111111111", of)
    }

    fn issue_in(sessions: &Sessions, number: u8, tenant: &str) -> SessionKey {
        issue_as(sessions, number, tenant, SessionUse::Invocations)
    }

    fn issue_as(sessions: &Sessions, number: u8, tenant: &str, of: SessionUse) -> SessionKey {
        let function = FunctionRef {
            tenant: tenant.parse().unwrap(),
            region: "us-east-1".parse().unwrap(),
            name: "f".parse().unwrap(),
        };
        let role = format!("arn:aws:iam::{tenant}:role/r");
        sessions.issue(&function, &role, instance(number), of)
    }

    /// Whether a key is one that may sign now.
    fn signs(sessions: &Sessions, clock: &Stepped, key: &SessionKey) -> bool {
        let entry = sessions.lookup(&key.access_key_id);
        entry.is_some_and(|entry| !entry.ends.unwrap().is_over(clock))
    }

    #[test]
    fn a_step_of_the_wall_clock_neither_ends_nor_prolongs_a_session() {
        let clock = Stepped::new();
        let sessions = Sessions::new(clock.clone(), Arc::new(Nobody));
        let key = issue(&sessions, 1);
        clock.step(13 * 3600);
        assert!(signs(&sessions, &clock, &key));
        clock.step(-26 * 3600);
        clock.pass(SESSION_LIFE - HOUR);
        assert!(signs(&sessions, &clock, &key));
        clock.pass(HOUR);
        assert!(!signs(&sessions, &clock, &key));
    }

    #[test]
    fn the_token_of_an_instance_opens_its_own_session_and_no_other() {
        let clock = Stepped::new();
        let sessions = Sessions::new(clock.clone(), Arc::new(Nobody));
        let (one, two) = (issue(&sessions, 1), issue(&sessions, 2));
        assert_ne!(one.endpoint_token, two.endpoint_token);
        let told = |number, token: &str| sessions.current(instance(number), token);
        assert_eq!(told(1, &one.endpoint_token), Some(one.clone()));
        for wrong in ["", &two.endpoint_token, &one.session_token] {
            assert_eq!(told(1, wrong), None, "{wrong}");
        }
        sessions.revoke(instance(1));
        assert_eq!(told(1, &one.endpoint_token), None);
        assert!(!signs(&sessions, &clock, &one));
        assert_eq!(told(2, &two.endpoint_token), Some(two));
    }

    #[test]
    fn all_sessions_of_a_tenant_end_and_no_other() {
        let clock = Stepped::new();
        let sessions = Sessions::new(clock.clone(), Arc::new(Nobody));
        let ours = [1, 2].map(|number| issue(&sessions, number));
        let other = issue_in(&sessions, 3, "222222222222");
        let image = issue_for(&sessions, 5, SessionUse::StartImage);
        assert!(signs(&sessions, &clock, &image));
        sessions.revoke_all(&"111111111111".parse().unwrap());
        for (number, key) in [1, 2].into_iter().zip(&ours) {
            assert!(!signs(&sessions, &clock, key));
            assert_eq!(
                sessions.current(instance(number), &key.endpoint_token),
                None
            );
        }
        assert!(signs(&sessions, &clock, &other) && !signs(&sessions, &clock, &image));
        let again = issue(&sessions, 4);
        assert!(signs(&sessions, &clock, &again));
    }

    #[test]
    fn a_session_that_ends_soon_is_followed_by_another_until_the_instance_ends() {
        let clock = Stepped::new();
        let sessions = Sessions::new(clock.clone(), Arc::new(Nobody));
        let first = issue(&sessions, 1);
        let ask = || sessions.current(instance(1), &first.endpoint_token);
        clock.pass(SESSION_LIFE - RENEWED_BEFORE - Duration::from_secs(1));
        assert_eq!(ask().unwrap(), first);
        clock.pass(Duration::from_secs(1));
        let mut last = first.clone();
        for _ in 0..3 {
            let next = ask().unwrap();
            assert_ne!(next.access_key_id, last.access_key_id);
            assert_eq!(next.ends, clock.now() + SESSION_LIFE);
            // One that asks twice is not given two, and who signs with the last one goes on.
            assert_eq!(ask().unwrap(), next);
            assert!(signs(&sessions, &clock, &next) && signs(&sessions, &clock, &last));
            assert!(sessions.held.read().by_key.len() <= 2);
            last = next;
            clock.pass(SESSION_LIFE - RENEWED_BEFORE);
        }
        sessions.revoke(instance(1));
        assert!(ask().is_none() && sessions.held.read().by_key.is_empty());
    }

    #[test]
    fn the_init_of_a_start_image_is_told_a_near_end_of_a_session_that_lasts() {
        let clock = Stepped::new();
        let sessions = Sessions::new(clock.clone(), Arc::new(Nobody));
        let own = issue_for(&sessions, 1, SessionUse::StartImage);
        let ask = || sessions.current(instance(1), &own.endpoint_token).unwrap();
        for _ in 0..3 {
            let told = ask();
            assert_eq!(told.access_key_id, own.access_key_id);
            assert_eq!(told.ends, clock.now() + TOLD_TO_IMAGES);
            // An init may take longer than that with what it has.
            clock.pass(TOLD_TO_IMAGES * 2);
            assert!(signs(&sessions, &clock, &own));
        }
        clock.pass(SESSION_LIFE - RENEWED_BEFORE);
        let next = ask();
        assert_ne!(next.access_key_id, own.access_key_id);
        assert_eq!(next.ends, clock.now() + TOLD_TO_IMAGES);
        clock.pass(TOLD_TO_IMAGES * 2);
        assert!(signs(&sessions, &clock, &next));
    }
}
