//! A certificate that the server orders itself (ACME, RFC 8555), and renews while it serves.
//!
//! ```text
//!            ┌─ a third of its life is left, or none is there ─┐
//!  serving ──┤                                                 ├─▶ order ─┬─ taken ──▶ shown, kept
//!     ▲      └─ `freehold reload` after a failure ─────────────┘          └─ failed ─▶ said; later again
//!     └───────────────────────────────────────────────────────────────────────┘
//!
//! DATA/acme/                  0700, the server's: renewals come after root was given up
//!   state.json                how the last order went, for `freehold doctor`
//!   0123456789abcdef/         one per authority: the first digits of its directory's SHA-256
//!     account.json            0600: the account's key
//!     certificate.pem         0600: key and chain in one file, replaced whole
//! ```
//!
//! No start waits for it and none fails by it: until there is a certificate, one of the server's own
//! making is shown, and one that is there is shown until its end whatever the authority says. What
//! an authority answers is bounded in bytes and time (`authority.rs`), and what it gives is judged
//! like an operator's before anybody sees it.

mod authority;
mod order;
mod schedule;
mod state;

use state::told;
pub(crate) use state::{Ordered, STATE};

use super::{
    chain,
    folder::Folder,
    front_door::FrontDoor,
    tls::{self, CertificateError, Challenges, Identity, day},
};
use crate::config::Config;
use order::{OrderError, Wanted};
use ring::digest::{SHA256, digest};
use schedule::Attempts;
pub(crate) use schedule::Life;
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{sync::Notify, time::timeout};
use tokio_util::task::AbortOnDropHandle;

/// Longest order, from the first request to the chain.
const ORDER_MAX: Duration = Duration::from_secs(600);
/// Longest sleep: a clock that steps, or a machine that slept, is noticed then.
const LOOK_EVERY: Duration = Duration::from_secs(600);
/// Key and chain, below the authority's folder.
const CERTIFICATE: &str = "certificate.pem";
/// What was just given, before it is judged.
const GIVEN: &str = "given.pem";

/// The order of a server.
#[derive(Debug)]
pub(crate) struct Acme {
    wanted: Wanted,
    data: PathBuf,
    /// Of the authority.
    folder: PathBuf,
    pub(super) challenges: Arc<Challenges>,
    hurry: Notify,
    /// Seconds since 1970 before which the authority wants to hear nothing.
    not_before: Arc<AtomicI64>,
    made: AtomicU64,
    failed: AtomicU64,
}

impl Acme {
    /// What is configured; nothing where no name is to be ordered for.
    pub(crate) fn of(config: &Config, folder: &Folder) -> Option<Arc<Self>> {
        let tls = &config.tls;
        let mut names: Vec<String> = Vec::new();
        for name in &tls.acme_names {
            let name = name.to_ascii_lowercase();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if names.is_empty() {
            return None;
        }
        // No text of the configuration in a path.
        let place = hex::encode(&digest(&SHA256, tls.acme_directory.as_bytes()).as_ref()[..8]);
        Some(Arc::new(Self {
            folder: folder.acme().join(place),
            data: folder.path().to_owned(),
            wanted: Wanted {
                names,
                directory: tls.acme_directory.clone(),
                contact: tls.acme_contact.clone(),
                roots: tls.acme_roots.clone(),
            },
            challenges: Arc::default(),
            hurry: Notify::new(),
            not_before: Arc::default(),
            made: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }))
    }

    /// Whom the certificate names.
    pub(crate) fn names(&self) -> &[String] {
        &self.wanted.names
    }

    /// The URL of the authority's directory.
    pub(crate) fn directory(&self) -> &str {
        &self.wanted.directory
    }

    /// Orders since the start, by how they ended: made, failed.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.made.load(Relaxed), self.failed.load(Relaxed))
    }

    /// The certificate of an earlier order, as the user that the server has dropped to.
    ///
    /// Errors: [`CertificateError`]; among others it has ended, or does not name all of them.
    pub(crate) fn kept(&self) -> Result<Identity, CertificateError> {
        let kept = tls::read_ordered(&self.folder.join(CERTIFICATE), &self.wanted.names)?;
        Ok(kept.with_challenges(&self.challenges))
    }

    /// An order that failed is tried again now: what was wrong may have been mended.
    pub(crate) fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// Orders whenever it is time to, and has `door` show what comes of it.
    pub(crate) async fn run(self: Arc<Self>, door: Arc<FrontDoor>) {
        let mut attempts = Attempts::default();
        loop {
            let life = door.ordered();
            self.wait(life, &mut attempts).await;
            let began = tls::now();
            tracing::info!(names = ?self.wanted.names, directory = self.wanted.directory, "a certificate is ordered");
            // A task of its own: whatever an authority says, this one goes on.
            let order = self.clone();
            let order = AbortOnDropHandle::new(tokio::spawn(async move { order.order().await }));
            let done = timeout(ORDER_MAX, order).await;
            let done = done.unwrap_or(Ok(Err(OrderError::Late)));
            match done.unwrap_or(Err(OrderError::Broken)) {
                Ok(identity) => {
                    self.made.fetch_add(1, Relaxed);
                    attempts = Attempts::default();
                    let (fingerprint, ends) = (identity.fingerprint, day(identity.ends));
                    door.show_ordered(identity);
                    tracing::info!(%fingerprint, ends, "the certificate is there, and shown from now on");
                }
                Err(error) => {
                    self.failed.fetch_add(1, Relaxed);
                    let error = told(&chain(&error));
                    attempts.failed(began, error.clone(), schedule::share());
                    let next = day(attempts.not_before().max(self.not_before.load(Relaxed)));
                    let shown = match door.ordered() {
                        Some(life) => format!("the one that is there, until {}", day(life.ends)),
                        None => "one of its own making".to_owned(),
                    };
                    tracing::warn!(
                        error,
                        next,
                        shown,
                        "no certificate came of the order; `freehold reload` tries at once"
                    );
                }
            }
        }
    }

    /// Until it is time to order.
    async fn wait(&self, life: Option<Life>, attempts: &mut Attempts) {
        loop {
            let due = attempts.due(life).max(self.not_before.load(Relaxed));
            self.tell(life, attempts, due);
            let left = due - tls::now();
            if left <= 0 {
                return;
            }
            let left = Duration::from_secs(left.unsigned_abs()).min(LOOK_EVERY);
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                () = self.hurry.notified() => attempts.hurry(),
            }
        }
    }

    async fn order(&self) -> Result<Identity, OrderError> {
        let given = self.folder.join(GIVEN);
        order::order(
            &self.wanted,
            &self.folder,
            &given,
            &self.challenges,
            &self.not_before,
        )
        .await?;
        // Judged where it lies; what would not be shown replaces nothing.
        tls::read_ordered(&given, &self.wanted.names)?;
        let file = self.folder.join(CERTIFICATE);
        let moved = std::fs::rename(&given, &file);
        let moved = moved.and_then(|()| std::fs::File::open(&self.folder)?.sync_all());
        moved.map_err(|source| OrderError::Kept { path: file, source })?;
        Ok(self.kept()?)
    }

    fn tell(&self, life: Option<Life>, attempts: &Attempts, due: i64) {
        let ordered = Ordered {
            names: self.wanted.names.join(", "),
            directory: self.wanted.directory.clone(),
            ends: life.map(|life| life.ends),
            failures: attempts.failures(),
            error: attempts.error().map(str::to_owned),
            next: due,
        };
        if let Err(error) = ordered.write(&self.data) {
            tracing::warn!(%error, "acme/state.json cannot be written: `freehold doctor` tells what was");
        }
    }
}
