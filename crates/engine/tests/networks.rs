//! Whom instances may reach is what their revision says, and nobody where that is gone.

use crate::support::*;
use freehold_domain::{
    network::{INTERNET, NetworkId, Networks, Policy},
    record::NetworkV1,
};
use std::sync::Arc;

fn named(policy: &str) -> Option<NetworkV1> {
    Some(NetworkV1 {
        policy: policy.to_owned(),
        subnets: Vec::new(),
        security_groups: vec![format!("sg-{policy}")],
    })
}

#[tokio::test(start_paused = true)]
async fn an_instance_has_the_policy_of_its_revision() {
    let of = |tenants| Policy {
        rules: vec!["10.0.0.5:5432".parse().unwrap()],
        tenants,
    };
    let other = "222222222222".parse().unwrap();
    let policies = vec![
        ("orders".to_owned(), of(None)),
        ("others".to_owned(), of(Some(vec![other]))),
    ];
    let networks = Networks::new(policies, INTERNET).unwrap();
    let sim = Sim::with(|parts| parts.networks = Arc::new(networks)).await;
    let mut expected = Vec::new();
    for (name, policy, id) in [
        ("f", None, NetworkId::INTERNET),
        ("g", named("orders"), NetworkId::of_named(0)),
        ("h", named("none"), NetworkId::NONE),
        ("i", named("gone"), NetworkId::NONE),
        // It could be had when the function was made.
        ("j", named("others"), NetworkId::NONE),
    ] {
        sim.deploy(name, |function| function.head.network = policy)
            .await;
        assert!(sim.call(name, "x").await.is_ok());
        expected.push(id);
        assert_eq!(sim.platform.networks(), expected, "{name}");
    }
}
