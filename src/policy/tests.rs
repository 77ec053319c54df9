use super::*;
use crate::config::model::{Format, NamespaceRules, Overrides, PortRules, Rules};

fn to(destination: usize) -> Overrides {
    Overrides { routing: Some(Routing::Destinations(vec![destination])), ..Overrides::default() }
}

#[test]
fn each_namespace_and_set_is_first_once() {
    let mut policy = Policy::new(Arc::new(ProfileTable::new(&Rules::default())));
    let profile = policy.table.find(policy.table.port(1), b"test", b"a", &mut Vec::new());
    assert_eq!(policy.route(profile), Route::None);
    assert!(policy.is_first_unrouted(b"test", b"a"));
    assert!(!policy.is_first_unrouted(b"test", b"a"));
    assert!(policy.is_first_unrouted(b"test", b"b"));
}

/// The table gives for every record what the rules resolve to, names that no level has included.
#[test]
fn the_table_says_what_the_rules_resolve_to() {
    let namespaces = |first: usize| {
        vec![
            NamespaceRules { name: "a".into(), own: to(first), sets: vec![("s".into(), to(first + 1))] },
            NamespaceRules { name: "b".into(), own: Overrides::default(), sets: vec![("s".into(), to(first + 2))] },
        ]
    };
    let mut rules = Rules { top: to(0), namespaces: namespaces(10), ports: Vec::new() };
    rules.namespaces[1].own.format = Some(Format::Xdr);
    rules.ports.push(PortRules { port: 1, own: Overrides::default(), namespaces: namespaces(20) });
    rules.ports.push(PortRules { port: 2, own: to(30), namespaces: Vec::new() });
    let policy = Policy::new(Arc::new(ProfileTable::new(&rules)));
    for port in [1, 2, 3] {
        for namespace in ["a", "b", "c"] {
            for set in ["", "s", "t"] {
                let resolved =
                    rules.resolve(Some(port), Some(namespace), Some(set)).routing.map(|(_, routing)| routing);
                let id = policy.table.port(port);
                let profile = policy.table.find(id, namespace.as_bytes(), set.as_bytes(), &mut Vec::new());
                let found = policy.table.profile(profile).unwrap();
                assert_eq!(found.routing.as_ref(), resolved, "{port} {namespace} {set}");
                assert_eq!(policy.table.formats[found.format], Format::Xdr);
            }
        }
    }
    assert!(policy.table.profiles().len() < 15, "same settings are one profile");
}
