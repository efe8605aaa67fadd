//! The audit trail at the edge: every call that changes something, or tries to, and every call that
//! is denied leaves one line before its answer leaves.
//!
//! What makes a line is known here and nowhere else: who asked is in the head, what was asked in
//! request line, target or body, and what came of it in the answer ([`ErrorTold`]). So a new
//! operation is on the trail without knowing of it. Every operation counts as one that changes
//! something unless its name says that it reads or invokes.
//!
//! A call whose caller hangs up leaves its line too, since what it asked for may still be done.

mod asked;
mod denials;

use asked::Asked;
pub(crate) use asked::{Refused, changes};

use crate::gate::SignedHead;
use bytes::Bytes;
use denials::{Counted, Denials, Share};
use freehold_domain::{
    InvocationId, Principal, TenantId, Wall,
    audit::{Asker, AuditLine, AuditResult, AuditText},
    budgets::Reached,
    ports::{AuditRetention, AuditTrimmed, Clock, CommitError, Storage},
};
use freehold_wire::{ApiError, ErrorTold, Service};
use http::{Response, uri::PathAndQuery};
use parking_lot::Mutex;
use std::{net::IpAddr, sync::Arc, time::Duration};
use tokio::sync::Notify;

/// The type that a denial has whose answer is not one of an API.
const DENIED: &str = "AccessDeniedException";

/// A file of the trail takes lines for so long, that old ones can go.
const FILE_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Writes the trail.
pub(crate) struct Trail {
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    denials: Mutex<Denials>,
    /// Told when the trail has grown so far that a trim is due.
    grown: Notify,
}

/// Where a call came from: an address, or the listener inside an instance.
pub(crate) type Source = Option<IpAddr>;

impl Trail {
    pub(crate) fn new(storage: Arc<dyn Storage>, clock: Arc<dyn Clock>) -> Self {
        Self {
            storage,
            clock,
            denials: Mutex::default(),
            grown: Notify::new(),
        }
    }

    /// Writes a line, or counts it where it is one of too many that came to nothing.
    fn write(&self, line: &AuditLine) -> Result<(), CommitError> {
        if matches!(line.result, AuditResult::Denied | AuditResult::Failed) {
            let share = Share {
                tenant: line.tenant.clone(),
                proven: line.proven,
                result: line.result,
            };
            let now = self.clock.now();
            let is_line = self.denials.lock().take(share, now);
            self.tell_counts(false);
            if !is_line {
                return Ok(());
            }
        }
        self.append(line)
    }

    /// Writes a line whatever else was written.
    fn append(&self, line: &AuditLine) -> Result<(), CommitError> {
        if self.storage.audit_append(line)? {
            self.grown.notify_one();
        }
        Ok(())
    }

    /// Resolves when the trail has grown so far since the last time that a trim is due.
    pub(crate) async fn grown(&self) {
        self.grown.notified().await;
    }

    /// Writes the counts of calls that became no line: those that are due, or all.
    pub(crate) fn tell_counts(&self, all: bool) {
        let counted = self.denials.lock().counted(self.clock.now(), all);
        for one in counted {
            let line = self.count_line(&one);
            if let Err(error) = self.append(&line) {
                let calls = one.calls;
                tracing::error!(%error, calls, "a count of calls is not on the audit trail");
            }
        }
    }

    fn count_line(&self, counted: &Counted) -> AuditLine {
        let every = || AuditText::new("*");
        AuditLine {
            at: self.clock.wall(),
            request: None,
            tenant: counted.share.tenant.clone(),
            who: Asker::Several,
            proven: counted.share.proven,
            source: every(),
            action: every(),
            resource: every(),
            result: counted.share.result,
            error: None,
            count: counted.calls,
        }
    }

    /// Writes down a call that was refused before its signature was proven, or at a function's URL:
    /// whoever refused it says in the answer who asked for what.
    pub(crate) fn refused(
        &self,
        mut response: Response<Bytes>,
        id: InvocationId,
        source: Source,
    ) -> Response<Bytes> {
        let Some(refused) = response.extensions_mut().remove::<Refused>() else {
            return response;
        };
        let told = response.extensions().get::<ErrorTold>();
        let error = told.map_or(DENIED, |told| &told.code);
        let line = AuditLine {
            at: self.clock.wall(),
            request: Some(id),
            tenant: refused.tenant,
            who: refused.who,
            proven: refused.proven,
            source: source_text(source),
            action: refused.action,
            resource: refused.resource,
            result: AuditResult::Denied,
            error: Some(AuditText::new(error)),
            count: 1,
        };
        if let Err(error) = self.write(&line) {
            tracing::error!(%error, request = %id, "a denied call is not on the audit trail");
        }
        response
    }

    /// Writes down what a signal to the server has led to: it came from nobody's key.
    pub(crate) fn signalled(&self, signal: &str, action: &str, error: Option<&str>) {
        let line = AuditLine {
            source: AuditText::new(signal),
            result: match error {
                None => AuditResult::Ok,
                Some(_) => AuditResult::Failed,
            },
            error: error.map(AuditText::new),
            ..self.own_line("signal", action)
        };
        if let Err(error) = self.append(&line) {
            tracing::error!(%error, signal, "what a signal led to is not on the audit trail");
        }
    }

    /// Writes down that a part of a budget was reached: the platform did it, and its tenant reads it.
    pub(crate) fn budget_reached(&self, reached: &Reached) {
        let (name, percent) = (reached.budget.name(), reached.percent);
        let line = AuditLine {
            tenant: Some(reached.tenant.clone()),
            resource: AuditText::new(&format!("{name} {percent}%")),
            ..self.own_line("budgets", "freehold:BudgetReached")
        };
        if let Err(error) = self.append(&line) {
            tracing::error!(%error, name, "what a budget has reached is not on the audit trail");
        }
    }

    /// A line of the platform's own, the operator's alone.
    fn own_line(&self, component: &str, action: &str) -> AuditLine {
        AuditLine {
            at: self.clock.wall(),
            request: None,
            tenant: None,
            who: Asker::of(&Principal::platform(component)),
            proven: true,
            source: AuditText::default(),
            action: AuditText::new(action),
            resource: AuditText::default(),
            result: AuditResult::Ok,
            error: None,
            count: 1,
        }
    }

    /// Removes what is older than `kept`, and where the trail takes more room than `bytes`, the oldest
    /// of whoever is furthest beyond its share. A line says what went.
    ///
    /// Errors: the store's.
    pub(crate) async fn keep(
        &self,
        kept: Duration,
        bytes: u64,
        operator: &TenantId,
    ) -> Result<(), CommitError> {
        let now = self.clock.wall();
        let before = |span: Duration| {
            Wall(
                now.0
                    .saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)),
            )
        };
        let retention = AuditRetention {
            from: before(kept),
            fresh: before((kept / 8).min(FILE_AGE_MAX)),
            bytes,
            operator: Some(operator.clone()),
        };
        let who = Principal::platform("audit");
        let trimmed = self.storage.audit_trim(&who, retention).await?;
        let AuditTrimmed {
            old_bytes,
            early_bytes,
        } = trimmed;
        if old_bytes > 0 || early_bytes > 0 {
            let went = match early_bytes {
                0 => format!("{old_bytes} bytes, past their time"),
                _ => format!("{early_bytes} bytes before their time, {old_bytes} past it"),
            };
            self.append(&AuditLine {
                resource: AuditText::new(&went),
                ..self.own_line("audit", "freehold:TrimAudit")
            })?;
        }
        if early_bytes > 0 {
            tracing::warn!(
                bytes = early_bytes,
                "lines of the audit trail went before their time: it is as large as it may be"
            );
        }
        Ok(())
    }
}

/// What an operator's call was about, in the extensions of its answer, where that is a tenant: it
/// sees in its own trail what was done to it.
#[derive(Debug, Clone)]
pub(crate) struct About {
    /// Whom.
    pub(crate) tenant: TenantId,
    /// The resource, where the call did not name it: what it made.
    pub(crate) resource: Option<String>,
}

/// A signed call between its signature and its answer.
pub(crate) struct Watched<'a> {
    trail: &'a Trail,
    head: &'a SignedHead,
    id: InvocationId,
    source: Source,
    asks: Asks,
    /// Whether the store knows that the call is under way.
    is_begun: bool,
    is_over: bool,
}

/// What a call asks: plain invokes, of which there are many, leave a line only when they are denied.
enum Asks {
    Invoke(Option<PathAndQuery>),
    Other(Box<Asked>),
}

impl<'a> Watched<'a> {
    /// A call whose signature has been proven.
    pub(crate) fn proven(
        trail: &'a Trail,
        head: &'a SignedHead,
        request: &crate::request::Request,
        source: Source,
    ) -> Self {
        let asks = match head.invokes {
            true => Asks::Invoke(request.parts.uri.path_and_query().cloned()),
            false => {
                let asked = Asked::of(head, &request.parts, &request.body);
                Asks::Other(Box::new(asked))
            }
        };
        Self {
            trail,
            head,
            id: request.id,
            source,
            asks,
            is_begun: false,
            is_over: false,
        }
    }

    /// Notes that a change begins now: a kill of the server in front of its line does not hide it.
    pub(crate) fn begins(&mut self) {
        if !matches!(&self.asks, Asks::Other(asked) if asked.changes) {
            return;
        }
        let line = self.line(AuditResult::Unheard, None);
        match self.trail.storage.audit_begin(&line) {
            Ok(()) => self.is_begun = true,
            // Removals go on where the disk is full; the line itself decides what is answered.
            Err(error) => {
                tracing::warn!(%error, request = %self.id, "a change is not noted as under way");
            }
        }
    }

    /// Whether the call writes something for which the disk must have room.
    pub(crate) fn takes_room(&self) -> bool {
        matches!(&self.asks, Asks::Other(asked) if asked.takes_room())
    }

    /// Writes down what came of the call, where that makes a line, and gives the answer back: what
    /// was done and cannot be written down is not answered as done.
    pub(crate) fn ends(mut self, response: Response<Bytes>) -> Response<Bytes> {
        self.is_over = true;
        self.told(response)
    }

    fn told(&mut self, mut response: Response<Bytes>) -> Response<Bytes> {
        let about = response.extensions_mut().remove::<About>();
        let told = response.extensions().get::<ErrorTold>();
        let result = match told {
            None => AuditResult::Ok,
            Some(told) if told.is_denial() => AuditResult::Denied,
            Some(_) => AuditResult::Failed,
        };
        let changes = match &self.asks {
            Asks::Invoke(_) => false,
            // Nobody has an operation of that name, so nothing was tried.
            Asks::Other(asked) => {
                asked.changes && told.is_none_or(|told| told.code != "UnknownOperationException")
            }
        };
        if !changes && result != AuditResult::Denied {
            return response;
        }
        // Nobody knows how far a call came that broke in the middle: it is no refusal.
        let broke = told.is_some_and(|told| told.status == 500);
        let error = told.map(|told| AuditText::new(&told.code));
        let mut line = self.line(result, error);
        if let Some(made) = about.as_ref().and_then(|about| about.resource.as_deref()) {
            line.resource = AuditText::new(made);
        }
        // The other tenant's first: as long as the caller's is not there, the call counts as cut short.
        let told_other = match about {
            Some(about) if line.tenant.as_ref() != Some(&about.tenant) => {
                self.trail.append(&told_to(about.tenant, line.clone()))
            }
            _ => Ok(()),
        };
        let written = match broke {
            true => self.trail.append(&line),
            false => self.trail.write(&line),
        };
        let written = written.and(told_other);
        let Err(error) = written else {
            return response;
        };
        tracing::error!(%error, request = %self.id, "a call is not on the audit trail");
        // What was noted stays, and becomes a line at the next start.
        self.is_begun = false;
        match result {
            AuditResult::Ok => not_recorded(self.head.api.service(), self.id),
            _ => response,
        }
    }

    fn line(&self, result: AuditResult, error: Option<AuditText>) -> AuditLine {
        let who = self.head.claim.principal();
        let (action, resource) = match &self.asks {
            Asks::Invoke(path) => asked::invoke(self.head, path.as_ref()),
            Asks::Other(asked) => (asked.action.clone(), asked.resource.clone()),
        };
        AuditLine {
            at: self.trail.clock.wall(),
            request: Some(self.id),
            tenant: who.tenant().cloned(),
            who: Asker::of(who),
            proven: true,
            source: source_text(self.source),
            action,
            resource,
            result,
            error,
            count: 1,
        }
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        let changes = matches!(&self.asks, Asks::Other(asked) if asked.changes);
        if !self.is_over && changes {
            let line = self.line(AuditResult::Unheard, None);
            if let Err(error) = self.trail.write(&line) {
                tracing::error!(%error, request = %self.id, "a call is not on the audit trail");
                // What was noted becomes its line at the next start.
                self.is_begun = false;
            }
        }
        if self.is_begun {
            self.trail.storage.audit_end(self.id);
        }
    }
}

/// The operator's line as a tenant reads it to whom it was done: without key, address and request.
fn told_to(tenant: TenantId, line: AuditLine) -> AuditLine {
    AuditLine {
        request: None,
        tenant: Some(tenant),
        who: Asker::of(&Principal::platform("operator")),
        source: AuditText::new("operator"),
        ..line
    }
}

/// A forged or damaged request of a known key: who it says it is, which nothing proves. So it is no
/// line of that key's tenant, into whose trail anybody could write who knows a key's id.
pub(crate) fn forged(head: &SignedHead, request: &crate::request::Request) -> Refused {
    let who = head.claim.principal();
    let asked = Asked::unproven(head, &request.parts, &request.body);
    Refused {
        who: Asker::of(who),
        proven: false,
        tenant: None,
        action: asked.action,
        resource: asked.resource,
    }
}

fn source_text(source: Source) -> AuditText {
    match source {
        Some(address) => AuditText::new(&address.to_string()),
        None => AuditText::new("instance"),
    }
}

fn not_recorded(service: Service, id: InvocationId) -> Response<Bytes> {
    let text = "The call was carried out and could not be written to the audit trail";
    ApiError::new("ServiceException", 500, text).encode(service, &id.to_string())
}
