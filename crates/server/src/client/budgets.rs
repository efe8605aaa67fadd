//! Budgets.

use super::{Client, ClientError, own::own};
use freehold_api::BudgetRow;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// A budget to be set in place of the one with the same name.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BudgetToSet {
    /// Of this tenant; without it, the caller's own.
    pub tenant_id: Option<String>,
    /// Of this function; without it, of all.
    pub function_name: Option<String>,
    /// How much may be spent.
    pub cost: Option<String>,
    /// What that is in.
    pub currency: Option<String>,
    /// How many GB·s.
    pub gb_seconds: Option<String>,
    /// How many attempts.
    pub invocations: Option<u64>,
    /// How many bytes of answers.
    pub egress_bytes: Option<u64>,
    /// `hour`, `day` or `month`.
    pub period: String,
    /// `throttle` or `stop`.
    pub then: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct One {
    budget: BudgetRow,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct All {
    budgets: Vec<BudgetRow>,
}

impl Client {
    /// Sets a budget.
    pub async fn budget_set(&self, budget: &BudgetToSet) -> Result<BudgetRow, ClientError> {
        let set = self.json::<One>(own("SetBudget", json!(budget))).await?;
        Ok(set.budget)
    }

    /// The budgets of one tenant, or of all that the caller may see.
    pub async fn budget_list(&self, tenant: Option<&str>) -> Result<Vec<BudgetRow>, ClientError> {
        let asked = own("ListBudgets", json!({ "TenantId": tenant }));
        Ok(self.json::<All>(asked).await?.budgets)
    }

    /// Removes a budget.
    pub async fn budget_remove(&self, tenant: Option<&str>, name: &str) -> Result<(), ClientError> {
        let asked = json!({ "TenantId": tenant, "Name": name });
        self.json::<serde_json::Value>(own("RemoveBudget", asked))
            .await?;
        Ok(())
    }
}
