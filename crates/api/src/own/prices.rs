//! Price books, for the node's operator, and bills, for whoever has to pay them.
//!
//! Every price and amount is a decimal number as text: JSON's numbers would not hold it.

use super::{read, write};
use crate::{Api, lambda::explain_plain};
use freehold_control::{
    bills::{BillBy, BillItem, BillLine, BillPage, BillQuery},
    prices::PricesChange,
};
use freehold_domain::{
    Principal, Wall,
    prices::{Amount, Meter},
    record::{BookOf, PriceBookV1, PricesV1, Stretch},
};
use freehold_identity::policy::Action;
use freehold_wire::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// A change of prices, for `freehold prices`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PriceChangeRow {
    /// From when it holds, ms since 1970.
    pub from_ms: i64,
    /// When it was written down, ms since 1970.
    pub set_ms: i64,
    /// The prices; none from where they end.
    pub prices: Option<PricesRow>,
}

/// What one unit of each meter costs, as decimal numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PricesRow {
    /// The code of the currency.
    pub currency: String,
    /// A tenant, for a calendar month.
    pub tenant_month: String,
    /// An invocation.
    pub invocation: String,
    /// A GB for a second.
    pub gb_second: String,
    /// A second of processor time.
    pub cpu_second: String,
    /// A GB of answers, and of what instances send to networks.
    pub gb_out: String,
    /// A GB that instances receive from networks.
    pub gb_in: String,
}

/// A page of a tenant's bill, for `freehold bill`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BillRow {
    /// Whose.
    pub tenant_id: String,
    /// Of which month, `2026-11`.
    pub month: String,
    /// What lines are made by, `function` or `tag:KEY`.
    pub by: String,
    /// When it was added up, ms since 1970.
    pub at_ms: i64,
    /// Whether nothing can come to it any more.
    #[serde(rename = "Final")]
    pub is_final: bool,
    /// The month in stretches, each with one price.
    pub stretches: Vec<StretchRow>,
    /// The lines.
    pub lines: Vec<BillLineRow>,
    /// The amounts of this page's lines added up, by currency.
    pub sums: Vec<SumRow>,
    /// What asks for the next page, of this bill or of the next tenant's.
    pub next_marker: Option<String>,
}

/// A stretch of a month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StretchRow {
    /// Its begin, ms since 1970.
    pub from_ms: i64,
    /// Its end, excluded, ms since 1970.
    pub until_ms: i64,
    /// Whose prices hold in it: `node` or `tenant`; none where nothing has a price.
    pub book: Option<String>,
    /// The prices.
    pub prices: Option<PricesRow>,
}

/// A line of a bill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BillLineRow {
    /// `tenant-month`, `function`, `tag`, `untagged` or `unknown-tags`.
    pub kind: String,
    /// The function's region.
    pub region: Option<String>,
    /// The function, which may be deleted by now.
    pub function_name: Option<String>,
    /// The tag's value.
    pub tag_value: Option<String>,
    /// The place of its stretch among the bill's, from 0.
    pub stretch: usize,
    /// Attempts that reached an instance.
    pub invocations: u64,
    /// Billed time, ms.
    pub billed_ms: u64,
    /// Billed time × memory, ms × MiB.
    pub billed_mib_ms: u64,
    /// Processor time, µs.
    pub cpu_us: u64,
    /// Bytes of answers, and those that instances sent to networks.
    pub bytes_out: u64,
    /// Bytes that instances received from networks.
    pub network_bytes_in: u64,
    /// `BilledMibMs` in GB·s, in full.
    pub gb_seconds: String,
    /// `CpuUs` in seconds, in full.
    pub cpu_seconds: String,
    /// `BytesOut` in GB, in full.
    pub gb_out: String,
    /// `NetworkBytesIn` in GB, in full.
    pub gb_in: String,
    /// What is paid in; none where nothing had a price.
    pub currency: Option<String>,
    /// What each costs, in full.
    pub amounts: Option<AmountsRow>,
    /// All of that added up, in full.
    pub amount: Option<String>,
}

/// The amounts of a line, in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AmountsRow {
    /// The tenant, for the month.
    pub tenant_month: String,
    /// Invocations.
    pub invocation: String,
    /// Memory × time.
    pub gb_second: String,
    /// Processor time.
    pub cpu_second: String,
    /// What left.
    pub gb_out: String,
    /// What came in from networks.
    pub gb_in: String,
}

/// An amount in one currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SumRow {
    /// Its code.
    pub currency: String,
    /// In full.
    pub amount: String,
    /// To the currency's digits, half a last digit up.
    pub rounded: String,
}

impl SumRow {
    /// A sum with its rounding.
    pub fn of(currency: freehold_domain::prices::Currency, amount: Amount) -> Self {
        Self {
            currency: currency.to_string(),
            amount: amount.to_string(),
            rounded: amount.rounded(currency.digits()),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Get {
    tenant_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Set {
    tenant_id: Option<String>,
    from: Option<i64>,
    currency: Option<String>,
    tenant_month: Option<String>,
    invocation: Option<String>,
    gb_second: Option<String>,
    cpu_second: Option<String>,
    gb_out: Option<String>,
    gb_in: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct End {
    tenant_id: Option<String>,
    from: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Bill {
    tenant_id: Option<String>,
    month: Option<String>,
    by: Option<String>,
    marker: Option<String>,
    max_items: Option<usize>,
}

/// The operations of this file, as policies write them.
pub(super) fn action(operation: &str) -> Option<Action> {
    Some(Action(match operation {
        "GetPrices" => "freehold:GetPrices",
        "SetPrices" => "freehold:SetPrices",
        "EndPrices" => "freehold:EndPrices",
        "GetBill" => "freehold:GetBill",
        _ => return None,
    }))
}

/// Carries one out. Only the operator gets past `control` with the first three.
pub(super) async fn answer(
    api: &Api,
    who: &Principal,
    operation: &str,
    body: &[u8],
) -> Result<Vec<u8>, ApiError> {
    let control = &*api.control;
    let book = match operation {
        "GetPrices" => {
            let Get { tenant_id } = read(body)?;
            control.prices_get(who, tenant_id.as_deref()).await
        }
        "SetPrices" => {
            let asked: Set = read(body)?;
            let change = PricesChange {
                currency: asked.currency,
                tenant_month: asked.tenant_month,
                invocation: asked.invocation,
                gb_second: asked.gb_second,
                cpu_second: asked.cpu_second,
                gb_out: asked.gb_out,
                gb_in: asked.gb_in,
            };
            let (tenant, from) = (asked.tenant_id, asked.from.map(Wall::from_millis));
            control
                .prices_set(who, tenant.as_deref(), &change, from)
                .await
        }
        "EndPrices" => {
            let End { tenant_id, from } = read(body)?;
            let from = from.map(Wall::from_millis);
            control.prices_end(who, tenant_id.as_deref(), from).await
        }
        _ => return bill(api, who, read(body)?).await,
    };
    let PriceBookV1 { changes } = book.map_err(explain_plain)?;
    let rows: Vec<PriceChangeRow> = changes
        .iter()
        .map(|change| PriceChangeRow {
            from_ms: change.from.millis(),
            set_ms: change.set.millis(),
            prices: change.prices.map(prices_row),
        })
        .collect();
    Ok(write(&json!({ "Changes": rows })))
}

async fn bill(api: &Api, who: &Principal, asked: Bill) -> Result<Vec<u8>, ApiError> {
    let query = BillQuery {
        tenant: asked.tenant_id,
        month: asked.month,
        by: asked.by,
        marker: asked.marker,
        limit: asked.max_items,
    };
    let page = api.control.bill(who, &query).await;
    Ok(write(&json!(bill_row(page.map_err(explain_plain)?))))
}

fn prices_row(prices: PricesV1) -> PricesRow {
    PricesRow {
        currency: prices.currency.to_string(),
        tenant_month: prices.tenant_month.to_string(),
        invocation: prices.invocation.to_string(),
        gb_second: prices.gb_second.to_string(),
        cpu_second: prices.cpu_second.to_string(),
        gb_out: prices.gb_out.to_string(),
        gb_in: prices.gb_in.to_string(),
    }
}

fn bill_row(page: BillPage) -> BillRow {
    let (stretches, lines) = (&page.stretches, page.lines.iter());
    BillRow {
        tenant_id: page.tenant.to_string(),
        month: page.month.to_string(),
        by: match &page.by {
            BillBy::Function => "function".to_owned(),
            BillBy::Tag(key) => format!("tag:{key}"),
        },
        at_ms: page.at.millis(),
        is_final: page.is_final,
        lines: lines.map(|line| line_row(line, stretches)).collect(),
        stretches: stretches.iter().map(stretch_row).collect(),
        sums: page
            .sums
            .iter()
            .map(|(currency, amount)| SumRow::of(*currency, *amount))
            .collect(),
        next_marker: page.next,
    }
}

fn stretch_row(stretch: &Stretch) -> StretchRow {
    let (book, prices) = stretch.prices.unzip();
    let book = book.map(|book| match book {
        BookOf::Node => "node",
        BookOf::Tenant => "tenant",
    });
    StretchRow {
        from_ms: stretch.from.millis(),
        until_ms: stretch.until.millis(),
        book: book.map(str::to_owned),
        prices: prices.map(prices_row),
    }
}

fn line_row(line: &BillLine, stretches: &[Stretch]) -> BillLineRow {
    let (kind, region, function_name, tag_value) = match &line.item {
        BillItem::TenantMonth => ("tenant-month", None, None, None),
        BillItem::Function(region, name) => {
            let (region, name) = (region.to_string(), name.to_string());
            ("function", Some(region), Some(name), None)
        }
        BillItem::Tag(value) => ("tag", None, None, Some(value.clone())),
        BillItem::Untagged => ("untagged", None, None, None),
        BillItem::UnknownTags => ("unknown-tags", None, None, None),
    };
    let used = &line.used;
    let quantity = |meter: Meter| meter.quantity(used.of(meter).into());
    let stretch = stretches.get(line.stretch);
    let prices = stretch.and_then(|stretch| stretch.prices);
    let amounts = line.amounts.as_ref().map(|amounts| {
        let [
            tenant_month,
            invocation,
            gb_second,
            cpu_second,
            gb_out,
            gb_in,
        ] = amounts.map(|amount| amount.to_string());
        AmountsRow {
            tenant_month,
            invocation,
            gb_second,
            cpu_second,
            gb_out,
            gb_in,
        }
    });
    BillLineRow {
        kind: kind.to_owned(),
        region,
        function_name,
        tag_value,
        stretch: line.stretch,
        invocations: used.invocations,
        billed_ms: used.billed_ms,
        billed_mib_ms: used.billed_mib_ms,
        cpu_us: used.cpu_us,
        bytes_out: used.bytes_out,
        network_bytes_in: used.network_in,
        gb_seconds: quantity(Meter::GbSecond),
        cpu_seconds: quantity(Meter::CpuSecond),
        gb_out: quantity(Meter::GbOut),
        gb_in: quantity(Meter::GbIn),
        currency: prices.map(|(_, prices)| prices.currency.to_string()),
        amounts,
        amount: line.amount.map(|amount| amount.to_string()),
    }
}
