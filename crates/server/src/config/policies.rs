//! The network policies of the file: a table of names, each with its list of rules.
//!
//! ```toml
//! [network.policies.orders]
//! allow = ["10.0.0.5:5432", "db.example.com:5432", "*.example.com:443"]
//! tenants = ["123456789012"]     # whose functions may have it; without, all tenants' may
//! ```
//!
//! As text of the environment and the command line: `orders=10.0.0.5:5432 *.example.com:443`, more of
//! them behind a comma; `@123456789012` among the rules is a tenant.

use super::kind::Found;
use freehold_domain::{
    TenantId,
    network::{POLICIES_MAX, Policy, RULES_MAX, Rule, is_policy_name},
};
use std::{collections::BTreeMap, fmt};

/// Policies by name.
pub type Policies = BTreeMap<String, Policy>;

/// What a policy may hold.
const ALLOW: &str = "allow";
/// Whose functions may have it.
const TENANTS: &str = "tenants";
/// Tenants of one policy at the most.
const TENANTS_MAX: usize = 1_000;

/// The policies that stand there.
///
/// Errors: every part that is wrong, below the key, what stands there and what may.
pub fn read(found: &Found) -> Result<Policies, Vec<WrongPart>> {
    let Found::Table(table) = found else {
        return Err(vec![WrongPart::new("", found, "a table of policies")]);
    };
    if table.len() > POLICIES_MAX {
        let most = format!("{POLICIES_MAX} policies at the most");
        return Err(vec![WrongPart::new("", found, &most)]);
    }
    all(table.iter().map(policy))
}

/// The policies of a text.
///
/// Errors: as of [`read`].
pub fn read_text(text: &str) -> Result<Policies, Vec<WrongPart>> {
    let (mut policies, mut wrong) = (Vec::new(), Vec::new());
    for item in text
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
    {
        let Some((name, rules)) = item.split_once('=') else {
            let found = Found::Text(item.to_owned());
            let allowed = "NAME=RULE RULE, as in orders=10.0.0.5:5432";
            wrong.push(WrongPart::new("", &found, allowed));
            continue;
        };
        let (mut allow, mut tenants) = (Vec::new(), Vec::new());
        for word in rules.split_whitespace() {
            match word.strip_prefix('@') {
                Some(tenant) => tenants.push(Found::Text(tenant.to_owned())),
                None => allow.push(Found::Text(word.to_owned())),
            }
        }
        let mut body = vec![(ALLOW.to_owned(), Found::List(allow))];
        if !tenants.is_empty() {
            body.push((TENANTS.to_owned(), Found::List(tenants)));
        }
        let body = Found::Table(body);
        policies.push((name.trim().to_owned(), body));
    }
    match (read(&Found::Table(policies)), wrong.is_empty()) {
        (Ok(policies), true) => Ok(policies),
        (Ok(_), false) => Err(wrong),
        (Err(more), _) => Err([wrong, more].concat()),
    }
}

/// All of them, or all that is wrong with any.
fn all<T, C: FromIterator<T>>(
    read: impl Iterator<Item = Result<T, Vec<WrongPart>>>,
) -> Result<C, Vec<WrongPart>> {
    let (mut fine, mut wrong) = (Vec::new(), Vec::new());
    for one in read {
        match one {
            Ok(one) => fine.push(one),
            Err(more) => wrong.extend(more),
        }
    }
    match wrong.is_empty() {
        true => Ok(fine.into_iter().collect()),
        false => Err(wrong),
    }
}

fn policy((name, body): &(String, Found)) -> Result<(String, Policy), Vec<WrongPart>> {
    if !is_policy_name(name) {
        let found = Found::Text(name.clone());
        let allowed = "a name of 1 to 63 lower-case letters, digits and inner hyphens, \
                       neither \"internet\" nor \"none\"";
        return Err(vec![WrongPart::new("", &found, allowed)]);
    }
    let is_table = "a table with the list allow";
    let Found::Table(entries) = body else {
        return Err(vec![WrongPart::new(name, body, is_table)]);
    };
    let (mut rules, mut tenants, mut wrong) = (None, None, Vec::new());
    for (entry, value) in entries {
        let at = format!("{name}.{entry}");
        match (entry.as_str(), value) {
            (ALLOW, Found::List(list)) if list.len() <= RULES_MAX => {
                let read = |(place, one)| rule(&at, place, one).map_err(|one| vec![one]);
                match all(list.iter().enumerate().map(read)) {
                    Ok(read) => rules = Some(read),
                    Err(more) => wrong.extend(more),
                }
            }
            (ALLOW, other) => {
                let allowed =
                    format!("a list of up to {RULES_MAX} rules, such as \"10.0.0.5:5432\"");
                wrong.push(WrongPart::new(&at, other, &allowed));
            }
            (TENANTS, Found::List(list)) if (1..=TENANTS_MAX).contains(&list.len()) => {
                let read = |(place, one)| tenant(&at, place, one).map_err(|one| vec![one]);
                match all(list.iter().enumerate().map(read)) {
                    Ok(read) => tenants = Some(read),
                    Err(more) => wrong.extend(more),
                }
            }
            (TENANTS, other) => {
                let allowed = format!("a list of 1 to {TENANTS_MAX} accounts of 12 digits");
                wrong.push(WrongPart::new(&at, other, &allowed));
            }
            _ => {
                let found = Found::Text(entry.clone());
                wrong.push(WrongPart::new(
                    name,
                    &found,
                    "allow and tenants, and nothing else",
                ));
            }
        }
    }
    match (rules, wrong.is_empty()) {
        (Some(rules), true) => Ok((name.clone(), Policy { rules, tenants })),
        (None, true) => Err(vec![WrongPart::new(name, body, is_table)]),
        (_, false) => Err(wrong),
    }
}

fn rule(at: &str, place: usize, one: &Found) -> Result<Rule, WrongPart> {
    let at = format!("{at}[{place}]");
    let Found::Text(text) = one else {
        return Err(WrongPart::new(
            &at,
            one,
            "a rule, such as \"10.0.0.5:5432\"",
        ));
    };
    text.parse().map_err(|error| WrongPart {
        at,
        found: one.to_string(),
        allowed: format!("{RULES}; {error}"),
    })
}

fn tenant(at: &str, place: usize, one: &Found) -> Result<TenantId, WrongPart> {
    let wrong = || WrongPart::new(&format!("{at}[{place}]"), one, "an account of 12 digits");
    let Found::Text(text) = one else {
        return Err(wrong());
    };
    let tenant: TenantId = text.parse().map_err(|_| wrong())?;
    match tenant == TenantId::platform() {
        true => Err(wrong()),
        false => Ok(tenant),
    }
}

/// How a rule is written.
const RULES: &str = "ADDRESS:PORT, RANGE:PORT, NAME:PORT, *.NAME:PORT or \"internet\"";

/// The part of a value that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongPart {
    /// Where below the key; empty for the key itself.
    pub at: String,
    /// What stands there.
    pub found: String,
    /// What may.
    pub allowed: String,
}

impl WrongPart {
    fn new(at: &str, found: &Found, allowed: &str) -> Self {
        Self {
            at: at.to_owned(),
            found: found.to_string(),
            allowed: allowed.to_owned(),
        }
    }
}

/// As the environment and the command line have them.
pub fn written(policies: &Policies, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (at, (name, policy)) in policies.iter().enumerate() {
        let rules = policy.rules.iter().map(Rule::to_string);
        let tenants = policy.tenants.iter().flatten();
        let rules: Vec<String> = tenants.map(|id| format!("@{id}")).chain(rules).collect();
        let comma = if at > 0 { "," } else { "" };
        write!(f, "{comma}{name}={}", rules.join(" "))?;
    }
    Ok(())
}

/// As the file has them, in JSON's words.
pub fn json(policies: &Policies) -> serde_json::Value {
    let of = |policy: &Policy| {
        let rules: Vec<String> = policy.rules.iter().map(Rule::to_string).collect();
        match &policy.tenants {
            None => serde_json::json!({ ALLOW: rules }),
            Some(tenants) => serde_json::json!({ ALLOW: rules, TENANTS: tenants }),
        }
    };
    policies
        .iter()
        .map(|(name, policy)| (name.clone(), of(policy)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_that_is_wrong_is_named() {
        for (text, at, allowed) in [
            ("orders", "", "NAME=RULE RULE"),
            ("Orders=1.1.1.1:1", "", "lower-case"),
            ("none=1.1.1.1:1", "", "neither"),
            ("orders=1.1.1.1:1 10.0.0.5", "orders.allow[1]", "no port"),
            (
                "orders=1.1.1.1:1,b=127.0.0.1:80",
                "b.allow[0]",
                "from no instance",
            ),
            ("a=@12 1.1.1.1:1", "a.tenants[0]", "12 digits"),
            ("a=@000000000000 1.1.1.1:1", "a.tenants[0]", "12 digits"),
        ] {
            let wrong = read_text(text).unwrap_err();
            let [wrong] = &wrong[..] else {
                panic!("{text}: {wrong:?}");
            };
            assert_eq!(wrong.at, at, "{text}");
            assert!(wrong.allowed.contains(allowed), "{text}: {}", wrong.allowed);
        }
        let many: Vec<String> = (0..=POLICIES_MAX)
            .map(|n| format!("p{n}=1.1.1.1:1"))
            .collect();
        assert!(read_text(&many.join(",")).is_err());
        let many = vec!["1.1.1.1:1"; RULES_MAX + 1].join(" ");
        let wrong = read_text(&format!("a={many}")).unwrap_err();
        assert_eq!((wrong.len(), wrong[0].at.as_str()), (1, "a.allow"));
        let of_one = read_text("a=@111111111111 1.1.1.1:1").unwrap();
        assert_eq!(of_one["a"].tenants.as_deref().map(<[_]>::len), Some(1));
        assert_eq!(json(&of_one)["a"][TENANTS][0], "111111111111");
        // A policy that lets nobody be reached is one.
        assert!(read_text("a=").unwrap()["a"].rules.is_empty());
    }
}
