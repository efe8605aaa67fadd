//! `GetAudit`: the lines of the audit trail that the caller may read.

use crate::{Api, arn::denied, lambda::explain_plain};
use freehold_domain::{
    Principal, TenantId, Wall,
    audit::{Asker, AuditLine, AuditResult},
    ports::{AuditPage, AuditQuery},
};
use freehold_wire::{ApiError, lambda::error};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom, SystemRandom},
};
use serde::{Deserialize, Serialize};

/// Lines of one answer, without a limit and at the most.
const LINES: usize = 100;
const LINES_MAX: usize = 1000;

/// What is asked.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Asked {
    since: Option<i64>,
    until: Option<i64>,
    tenant_id: Option<String>,
    action: Option<String>,
    #[serde(default)]
    denied: bool,
    token: Option<String>,
    limit: Option<usize>,
}

/// A line of the trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AuditRow {
    /// When, `2026-11-22T02:00:00.123456Z`.
    pub time: String,
    /// Whose line it is; the operator's alone without one.
    pub tenant_id: Option<String>,
    /// `key`, `instance`, `service`, `platform`, `unproven-key`, `nobody`, `several`.
    pub kind: String,
    /// Who asked: the key's id, the function and its instance, the service.
    pub who: String,
    /// Whether a signature proved it.
    pub proven: bool,
    /// Where the call came from.
    pub source: String,
    /// What was asked.
    pub action: String,
    /// Of what.
    pub resource: String,
    /// `ok`, `denied`, `failed`, `unheard`.
    pub result: String,
    /// The error's type.
    pub error: Option<String>,
    /// The request's id.
    pub request_id: Option<String>,
    /// Calls that the line stands for.
    pub count: u64,
}

impl AuditRow {
    fn of(line: AuditLine) -> Self {
        let (kind, who) = match &line.who {
            Asker::Key { key, .. } => ("key", key.to_string()),
            Asker::Instance {
                function, instance, ..
            } => ("instance", format!("{function}/{instance}")),
            Asker::Service { service, .. } => ("service", service.to_string()),
            Asker::Platform { component } => ("platform", component.to_string()),
            Asker::UnprovenKey { key } => ("unproven-key", key.to_string()),
            Asker::Nobody => ("nobody", String::new()),
            Asker::Several => ("several", String::new()),
        };
        let time = jiff::Timestamp::from_microsecond(line.at.0).unwrap_or_default();
        Self {
            time: time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
            tenant_id: line.tenant.map(|tenant| tenant.to_string()),
            kind: kind.to_owned(),
            who,
            proven: line.proven,
            source: line.source.to_string(),
            action: line.action.to_string(),
            resource: line.resource.to_string(),
            result: match line.result {
                AuditResult::Ok => "ok",
                AuditResult::Denied => "denied",
                AuditResult::Failed => "failed",
                AuditResult::Unheard => "unheard",
            }
            .to_owned(),
            error: line.error.map(|error| error.to_string()),
            request_id: line.request.map(|id| id.to_string()),
            count: line.count,
        }
    }
}

/// Makes and reads tokens: positions in a trail that all tenants write, so a position in the clear
/// would tell each how much the others do. Good as long as the process.
pub(crate) struct Tokens {
    key: LessSafeKey,
    random: SystemRandom,
}

impl Tokens {
    pub(crate) fn new() -> Self {
        let random = SystemRandom::new();
        let mut key = [0; 32];
        let filled = random.fill(&mut key);
        filled.expect("the kernel's random source does not fail once seeded");
        let key = UnboundKey::new(&CHACHA20_POLY1305, &key).expect("32 bytes are a key");
        Self {
            key: LessSafeKey::new(key),
            random,
        }
    }

    fn make(&self, position: u64, tenant: &TenantId) -> String {
        let mut nonce = [0; NONCE_LEN];
        let filled = self.random.fill(&mut nonce);
        filled.expect("the kernel's random source does not fail once seeded");
        let mut sealed = position.to_be_bytes().to_vec();
        let (own, aad) = (
            Nonce::assume_unique_for_key(nonce),
            Aad::from(tenant.as_str()),
        );
        let done = self.key.seal_in_place_append_tag(own, aad, &mut sealed);
        done.expect("eight bytes are not too many");
        hex::encode([&nonce[..], &sealed].concat())
    }

    fn read(&self, token: &str, tenant: &TenantId) -> Option<u64> {
        let bytes = hex::decode(token).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let aad = Aad::from(tenant.as_str());
        let opened = self.key.open_in_place(nonce, aad, &mut sealed).ok()?;
        Some(u64::from_be_bytes((&*opened).try_into().ok()?))
    }
}

/// Answers the question.
pub(super) async fn lines(
    api: &Api,
    who: &Principal,
    tenant: &TenantId,
    asked: Asked,
) -> Result<Vec<u8>, ApiError> {
    let (who, of) = may_read(api, who, tenant, asked.tenant_id.as_deref())?;
    let wrong_token = || error::invalid_parameter_value("Token is not one of this server's");
    let position = match &asked.token {
        Some(token) => api.tokens.read(token, tenant).ok_or_else(wrong_token)?,
        None => 0,
    };
    let query = AuditQuery {
        tenant: of,
        since: asked.since.map(Wall::from_millis),
        until: asked.until.map(Wall::from_millis),
        action: asked.action,
        denied: asked.denied,
        position,
        limit: asked.limit.unwrap_or(LINES).clamp(1, LINES_MAX),
    };
    api.trail.tell_counts(false);
    let page = api.storage.audit_lines(&who, query).await;
    let AuditPage {
        lines,
        position,
        more,
        gaps,
    } = page.map_err(|fault| explain_plain(fault.into()))?;
    // Files are the operator's, and where they lie.
    let is_operator = matches!(who, Principal::Platform { .. });
    let answer = serde_json::json!({
        "Lines": lines.into_iter().map(AuditRow::of).collect::<Vec<_>>(),
        "Token": api.tokens.make(position, tenant),
        "More": more,
        "Gaps": if is_operator { gaps } else { Vec::new() },
    });
    Ok(answer.to_string().into_bytes())
}

/// On whose behalf the trail is read, and of which tenant: the operator's keys read all of it, or one
/// tenant's lines; everybody else's read their own.
fn may_read(
    api: &Api,
    who: &Principal,
    tenant: &TenantId,
    asked: Option<&str>,
) -> Result<(Principal, Option<TenantId>), ApiError> {
    let of: Option<TenantId> = match asked.map(str::parse).transpose() {
        Ok(of) => of,
        Err(_) => {
            return Err(error::invalid_parameter_value(
                "TenantId is not an id of 12 digits",
            ));
        }
    };
    if *tenant == api.operator {
        return Ok((Principal::platform("audit"), of));
    }
    match of {
        Some(other) if other != *tenant => {
            Err(denied(who, "freehold:GetAudit", &format!("tenant {other}")))
        }
        _ => Ok((who.clone(), Some(tenant.clone()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_its_tenants_and_this_processs() {
        let tokens = Tokens::new();
        let (one, two) = ("111111111111", "222222222222");
        let (one, two): (TenantId, TenantId) = (one.parse().unwrap(), two.parse().unwrap());
        for position in [0, 7 << 32 | 9, u64::MAX] {
            let token = tokens.make(position, &one);
            assert_eq!(tokens.read(&token, &one), Some(position));
            assert_eq!(tokens.read(&token, &two), None);
            assert_eq!(Tokens::new().read(&token, &one), None);
            assert_ne!(
                token,
                tokens.make(position, &one),
                "tells nothing by itself"
            );
            assert_eq!(tokens.read(&token[..token.len() - 2], &one), None);
        }
        for odd in ["", "7", "zz", "ä", &"0".repeat(72), &"0".repeat(1 << 16)] {
            assert_eq!(tokens.read(odd, &one), None);
        }
    }
}
