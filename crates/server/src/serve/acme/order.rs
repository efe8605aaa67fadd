//! One order: account, proofs of the names, and a chain for a key that was made for it.

use super::authority::Line;
use crate::serve::tls::{self, CertificateError, Challenges, Proof};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Error, Identifier, NewAccount,
    NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

/// The account's file, below the authority's folder.
const ACCOUNT: &str = "account.json";
/// Bytes of it that are read.
const ACCOUNT_BYTES_MAX: u64 = 64 << 10;
/// Longest wait for the authority to have looked at the proofs, and for the chain.
const LOOKED_AT_MAX: Duration = Duration::from_secs(180);
/// What an authority says of an account that it has forgotten.
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";
/// What it says of a request whose nonce it does not take (RFC 8555, 6.5); each was tried three times by then.
const BAD_NONCE: &str = "urn:ietf:params:acme:error:badNonce";
/// How often an order is begun in all where that is what ends it.
const NONCE_ATTEMPTS: usize = 3;

/// What is ordered, and from whom.
#[derive(Debug)]
pub(super) struct Wanted {
    /// In small letters, each once.
    pub(super) names: Vec<String>,
    pub(super) directory: String,
    pub(super) contact: Option<String>,
    pub(super) roots: Option<PathBuf>,
}

/// Why no certificate came of an order.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    #[error("nobody can vouch for the authority: {reason}")]
    Roots { reason: String },
    #[error("{} could not be kept", path.display())]
    Kept { path: PathBuf, source: io::Error },
    #[error("{} does not read as an account; remove it, and a new one is made", path.display())]
    Account { path: PathBuf },
    #[error("the authority did not do as it was asked ({doing})")]
    Authority { doing: &'static str, source: Error },
    #[error("the authority asks for a proof of {name:?}, which was not ordered")]
    Stranger { name: String },
    #[error("the authority takes no proof of {name} by tls-alpn-01")]
    NoProof { name: String },
    #[error(
        "{name} was not proven: {reason}; the authority has to reach this server under that name on port 443"
    )]
    Unproven { name: String, reason: String },
    #[error("the order ended as {status:?}")]
    Ended { status: OrderStatus },
    #[error("no proof, key or request could be made: {reason}")]
    NotMade { reason: String },
    #[error("what the authority gave is not shown to anybody")]
    Given(#[from] CertificateError),
    #[error("what the authority answered ended the order in the middle")]
    Broken,
    #[error("the order took longer than {} s", super::ORDER_MAX.as_secs())]
    Late,
}

impl OrderError {
    fn authority(doing: &'static str) -> impl Fn(Error) -> Self {
        move |source| Self::Authority { doing, source }
    }

    /// Whether it is what the authority calls so.
    fn is_problem(&self, kind: &str) -> bool {
        let Self::Authority {
            source: Error::Api(problem),
            ..
        } = self
        else {
            return false;
        };
        problem.r#type.as_deref() == Some(kind)
    }
}

/// Writes key and chain to `given`; proofs are shown by `challenges` for as long as it takes. An order that
/// ends for a nonce is begun anew at once: nothing is wrong with it.
pub(super) async fn order(
    wanted: &Wanted,
    folder: &Path,
    given: &Path,
    challenges: &Arc<Challenges>,
    not_before: &Arc<AtomicI64>,
) -> Result<(), OrderError> {
    let mut left = NONCE_ATTEMPTS;
    loop {
        left -= 1;
        match order_once(wanted, folder, given, challenges, not_before).await {
            Err(error) if left > 0 && error.is_problem(BAD_NONCE) => {
                tracing::debug!(%error, "the order is begun anew");
            }
            done => return done,
        }
    }
}

async fn order_once(
    wanted: &Wanted,
    folder: &Path,
    given: &Path,
    challenges: &Arc<Challenges>,
    not_before: &Arc<AtomicI64>,
) -> Result<(), OrderError> {
    let mut made = fs::DirBuilder::new();
    let made = made.recursive(true).mode(0o700).create(folder);
    made.map_err(|source| OrderError::Kept {
        path: folder.to_owned(),
        source,
    })?;
    let account_file = folder.join(ACCOUNT);
    let account = account(wanted, &account_file, not_before).await?;
    let order = match begin(wanted, &account).await {
        // Whoever runs the authority began anew: so does the account.
        Err(error) if error.is_problem(NO_ACCOUNT) => {
            let _ = fs::remove_file(&account_file);
            let account = self::account(wanted, &account_file, not_before).await?;
            begin(wanted, &account).await?
        }
        order => order?,
    };
    let text = fulfil(wanted, order, challenges).await?;
    tls::write(given, &text, 0o600).map_err(|source| OrderError::Kept {
        path: given.to_owned(),
        source,
    })
}

/// The account of an earlier order, or a new one, which is kept before it is used.
async fn account(
    wanted: &Wanted,
    file: &Path,
    not_before: &Arc<AtomicI64>,
) -> Result<Account, OrderError> {
    let line = Line::new(wanted.roots.clone(), not_before);
    let line = line.map_err(|reason| OrderError::Roots { reason })?;
    let builder = Account::builder_with_http(Box::new(line));
    if let Some(held) = read(file)? {
        let held: AccountCredentials =
            serde_json::from_slice(&held).map_err(|_| OrderError::Account {
                path: file.to_owned(),
            })?;
        let held = builder.from_credentials(held).await;
        return held.map_err(OrderError::authority("its directory"));
    }
    let contact: Vec<String> = wanted
        .contact
        .iter()
        .map(|to| format!("mailto:{to}"))
        .collect();
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let new = NewAccount {
        contact: &contact,
        // A start without it is refused (`config/rules.rs`).
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let made = builder.create(&new, wanted.directory.clone(), None).await;
    let (account, credentials) = made.map_err(OrderError::authority("an account"))?;
    let text = serde_json::to_string(&credentials).map_err(|error| OrderError::NotMade {
        reason: error.to_string(),
    })?;
    tls::write(file, &text, 0o600).map_err(|source| OrderError::Kept {
        path: file.to_owned(),
        source,
    })?;
    Ok(account)
}

fn read(file: &Path) -> Result<Option<Vec<u8>>, OrderError> {
    let failed = |source| OrderError::Kept {
        path: file.to_owned(),
        source,
    };
    match fs::metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(facts) if facts.len() > ACCOUNT_BYTES_MAX => {
            return Err(OrderError::Account {
                path: file.to_owned(),
            });
        }
        Ok(_) => {}
    }
    fs::read(file).map(Some).map_err(failed)
}

async fn begin(wanted: &Wanted, account: &Account) -> Result<Order, OrderError> {
    let names = wanted.names.iter().cloned();
    let identifiers: Vec<Identifier> = names.map(Identifier::Dns).collect();
    let order = account.new_order(&NewOrder::new(&identifiers)).await;
    order.map_err(OrderError::authority("an order"))
}

/// Proves the names, and returns key and chain as one text.
async fn fulfil(
    wanted: &Wanted,
    mut order: Order,
    challenges: &Arc<Challenges>,
) -> Result<String, OrderError> {
    let retries = RetryPolicy::new().timeout(LOOKED_AT_MAX);
    let shown = prove(wanted, &mut order, challenges).await?;
    let looked = order.poll_ready(&retries).await;
    drop(shown);
    match looked {
        Ok(OrderStatus::Ready | OrderStatus::Valid) => {}
        Ok(status) => {
            let why = why_not(&mut order).await;
            return Err(why.unwrap_or(OrderError::Ended { status }));
        }
        Err(source) => {
            let error = OrderError::authority("a look at the proofs")(source);
            // Nothing is wrong with the proofs then.
            if error.is_problem(BAD_NONCE) {
                return Err(error);
            }
            return Err(why_not(&mut order).await.unwrap_or(error));
        }
    }
    let not_made = |error: rcgen::Error| OrderError::NotMade {
        reason: error.to_string(),
    };
    let mut params = CertificateParams::new(wanted.names.clone()).map_err(not_made)?;
    params.distinguished_name = DistinguishedName::new();
    let key = KeyPair::generate().map_err(not_made)?;
    let request = params.serialize_request(&key).map_err(not_made)?;
    let finalised = order.finalize_csr(request.der()).await;
    finalised.map_err(OrderError::authority("a certificate"))?;
    let chain = order.poll_certificate(&retries).await;
    let chain = chain.map_err(OrderError::authority("the certificate's chain"))?;
    Ok(format!("{}{chain}", key.serialize_pem()))
}

/// Shows a proof of each name that wants one, and says so; they are shown until the values go.
async fn prove(
    wanted: &Wanted,
    order: &mut Order,
    challenges: &Arc<Challenges>,
) -> Result<Vec<Proof>, OrderError> {
    let mut shown = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(next) = authorizations.next().await {
        let mut one = next.map_err(OrderError::authority("what is to be proven"))?;
        let name = one.identifier().to_string();
        if !wanted.names.contains(&name) || shown.len() == wanted.names.len() {
            return Err(OrderError::Stranger { name });
        }
        match &one.status {
            AuthorizationStatus::Pending => {}
            AuthorizationStatus::Valid => continue,
            status => {
                let reason = format!("its authorisation is {status:?}");
                return Err(OrderError::Unproven { name, reason });
            }
        }
        let Some(mut challenge) = one.challenge(ChallengeType::TlsAlpn01) else {
            return Err(OrderError::NoProof { name });
        };
        let answer = challenge.key_authorization();
        let open = challenges.show(&name, answer.digest().as_ref());
        shown.push(open.map_err(|reason| OrderError::NotMade { reason })?);
        let ready = challenge.set_ready().await;
        ready.map_err(OrderError::authority("a look at a proof"))?;
    }
    Ok(shown)
}

/// What the authority says of the first name that it did not take a proof of.
async fn why_not(order: &mut Order) -> Option<OrderError> {
    let mut authorizations = order.authorizations();
    while let Some(next) = authorizations.next().await {
        let mut one = next.ok()?;
        one.refresh().await.ok()?;
        if one.status == AuthorizationStatus::Valid {
            continue;
        }
        let reason = one.challenges.iter().find_map(|one| one.error.as_ref());
        let reason = reason.map_or_else(
            || format!("its authorisation is {:?}", one.status),
            |problem| problem.to_string(),
        );
        return Some(OrderError::Unproven {
            name: one.identifier().to_string(),
            reason,
        });
    }
    None
}
