//! What is told of budgets: a line of the server's log and one of the audit trail for each part that
//! was reached, and its place in the records, so that a start tells nothing twice.

use freehold_api::Api;
use freehold_control::Control;
use std::{sync::Arc, time::Duration};

/// Pause between looks; what a budget closes is closed before.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Tells of budgets for as long as the node serves.
pub(crate) async fn tell(control: Arc<Control>, api: Arc<Api>) {
    loop {
        for reached in control.budgets_reached().await {
            let (tenant, percent) = (&reached.tenant, reached.percent);
            let (budget, then) = (reached.budget.name(), reached.budget.then);
            match percent {
                100 => tracing::warn!(%tenant, budget, ?then, "a budget is used up"),
                _ => tracing::warn!(%tenant, budget, percent, "a budget is nearly used up"),
            }
            api.budget_reached(&reached);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
