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

use super::{
    fault::{WrongPart, all},
    kind::{Entry, Found, Item},
};
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
        return Err(vec![WrongPart::value(
            None,
            "",
            found,
            "a table of policies",
        )]);
    };
    if table.len() > POLICIES_MAX {
        let most = format!("{POLICIES_MAX} policies at the most");
        return Err(vec![WrongPart::value(None, "", found, &most)]);
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
            wrong.push(WrongPart::value(None, "", &found, allowed));
            continue;
        };
        let rules = rules.split_whitespace();
        let (tenants, allow): (Vec<&str>, Vec<&str>) = rules.partition(|one| one.starts_with('@'));
        let mut body = vec![Entry::of_text(ALLOW, Found::texts(allow.into_iter()))];
        if !tenants.is_empty() {
            let tenants = tenants.iter().filter_map(|one| one.strip_prefix('@'));
            body.push(Entry::of_text(TENANTS, Found::texts(tenants)));
        }
        policies.push(Entry::of_text(name.trim(), Found::Table(body)));
    }
    match (read(&Found::Table(policies)), wrong.is_empty()) {
        (Ok(policies), true) => Ok(policies),
        (Ok(_), false) => Err(wrong),
        (Err(more), _) => Err([wrong, more].concat()),
    }
}

fn policy(entry: &Entry) -> Result<(String, Policy), Vec<WrongPart>> {
    let Entry { line, name, found } = entry;
    if !is_policy_name(name) {
        let found = Found::Text(name.clone());
        let allowed = "a name of 1 to 63 lower-case letters, digits and inner hyphens, \
                       neither \"internet\" nor \"none\"";
        return Err(vec![WrongPart::value(*line, "", &found, allowed)]);
    }
    let is_no_table = || {
        let allowed = "a table with the list allow";
        vec![WrongPart::value(*line, name, found, allowed)]
    };
    let Found::Table(entries) = found else {
        return Err(is_no_table());
    };
    let (mut rules, mut tenants, mut wrong) = (None, None, Vec::new());
    for Entry {
        line,
        name: key,
        found,
    } in entries
    {
        let at = format!("{name}.{key}");
        match (key.as_str(), found) {
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
                wrong.push(WrongPart::value(*line, &at, other, &allowed));
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
                wrong.push(WrongPart::value(*line, &at, other, &allowed));
            }
            _ => {
                let apart = |known: &&str| strsim::osa_distance(key, known);
                let nearest = [ALLOW, TENANTS].into_iter().min_by_key(apart);
                let nearest = nearest.map(|one| format!("network.policies.{name}.{one}"));
                wrong.push(WrongPart::unknown(*line, &at, "key", nearest));
            }
        }
    }
    match (rules, wrong.is_empty()) {
        (Some(rules), true) => Ok((name.clone(), Policy { rules, tenants })),
        (None, true) => Err(is_no_table()),
        (_, false) => Err(wrong),
    }
}

fn rule(at: &str, place: usize, one: &Item) -> Result<Rule, WrongPart> {
    let at = format!("{at}[{place}]");
    let Found::Text(text) = &one.found else {
        let allowed = "a rule, such as \"10.0.0.5:5432\"";
        return Err(WrongPart::value(one.line, &at, &one.found, allowed));
    };
    let wrong = |error| {
        let allowed = format!("{RULES}; {error}");
        WrongPart::value(one.line, &at, &one.found, &allowed)
    };
    text.parse::<Rule>().map_err(wrong)
}

fn tenant(at: &str, place: usize, one: &Item) -> Result<TenantId, WrongPart> {
    let wrong = || {
        let at = format!("{at}[{place}]");
        WrongPart::value(one.line, &at, &one.found, "an account of 12 digits")
    };
    let Found::Text(text) = &one.found else {
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
            ("orders", " is \"orders\"", "NAME=RULE RULE"),
            ("Orders=1.1.1.1:1", " is \"Orders\"", "lower-case"),
            ("none=1.1.1.1:1", " is \"none\"", "neither"),
            (
                "orders=1.1.1.1:1 10.0.0.5",
                ".orders.allow[1] is ",
                "no port",
            ),
            (
                "orders=1.1.1.1:1,b=127.0.0.1:80",
                ".b.allow[0] is ",
                "from no instance",
            ),
            ("a=@12 1.1.1.1:1", ".a.tenants[0] is ", "12 digits"),
            (
                "a=@000000000000 1.1.1.1:1",
                ".a.tenants[0] is ",
                "12 digits",
            ),
        ] {
            let wrong = read_text(text).unwrap_err();
            let [wrong] = &wrong[..] else {
                panic!("{text}: {wrong:?}");
            };
            let said = wrong.of("policies").to_string();
            assert!(said.starts_with(&format!("policies{at}")), "{said}");
            assert!(said.contains(allowed), "{said}");
        }
        let many: Vec<String> = (0..=POLICIES_MAX)
            .map(|n| format!("p{n}=1.1.1.1:1"))
            .collect();
        assert!(read_text(&many.join(",")).is_err());
        let many = vec!["1.1.1.1:1"; RULES_MAX + 1].join(" ");
        let wrong = read_text(&format!("a={many}")).unwrap_err();
        assert_eq!(wrong.len(), 1);
        let said = wrong[0].of("policies").to_string();
        assert!(said.starts_with("policies.a.allow is "), "{said}");
        let of_one = read_text("a=@111111111111 1.1.1.1:1").unwrap();
        assert_eq!(of_one["a"].tenants.as_deref().map(<[_]>::len), Some(1));
        assert_eq!(json(&of_one)["a"][TENANTS][0], "111111111111");
        // A policy that lets nobody be reached is one.
        assert!(read_text("a=").unwrap()["a"].rules.is_empty());
    }
}
