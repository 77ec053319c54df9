//! Settings that can differ by port, namespace and set: as written at each level, and which of them holds for a record.
//!
//! Each kind of setting is looked up on its own (decisions.md, "precedence"): the port's set, the port's namespace, the
//! port block, then set, namespace, top level. The first level that has the kind gives all of it; blocks are not merged.

use super::{Batching, BinTransforms, Format, RecordOrdering, Routing};

/// What one level says; `None`: nothing, so that a wider level holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Overrides {
    /// `routing`.
    pub routing: Option<Routing>,
    /// `format`.
    pub format: Option<Format>,
    /// `bin-transforms`.
    pub bin_transforms: Option<BinTransforms>,
    /// `batching`.
    pub batching: Option<Batching>,
    /// `record-ordering`.
    pub ordering: Option<RecordOrdering>,
}

/// A namespace's own settings and those of its sets.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NamespaceRules {
    /// Name as in the file.
    pub name: String,
    /// What the namespace says.
    pub own: Overrides,
    /// What its sets say, in the order of the file.
    pub sets: Vec<(String, Overrides)>,
}

/// One `port-based-config` block.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PortRules {
    /// The listening port.
    pub port: u16,
    /// What the block says.
    pub own: Overrides,
    /// Its namespaces.
    pub namespaces: Vec<NamespaceRules>,
}

/// Every level of the file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rules {
    /// The top level.
    pub top: Overrides,
    /// `namespaces`.
    pub namespaces: Vec<NamespaceRules>,
    /// `port-based-config`.
    pub ports: Vec<PortRules>,
}

/// Where a setting comes from. Displays as its key path without the kind: `port-based-config.9901.namespaces.users`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Level<'a> {
    /// Of this port's block.
    pub port: Option<u16>,
    /// Of this namespace.
    pub namespace: Option<&'a str>,
    /// Of this set.
    pub set: Option<&'a str>,
}

impl Level<'_> {
    /// Key path of `kind` (such as `routing`) at this level.
    pub fn path(&self, kind: &str) -> String {
        use crate::config::join;
        let mut path = String::new();
        if let Some(port) = self.port {
            path = join("port-based-config", &port.to_string());
        }
        if let Some(namespace) = self.namespace {
            path = join(&join(&path, "namespaces"), namespace);
        }
        if let Some(set) = self.set {
            path = join(&join(&path, "sets"), set);
        }
        join(&path, kind)
    }
}

/// The settings of one kind of record, each with the level that it is from; `None`: no level says anything.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Resolved<'a> {
    /// `routing`.
    pub routing: Option<(Level<'a>, &'a Routing)>,
    /// `format`.
    pub format: Option<(Level<'a>, &'a Format)>,
    /// `bin-transforms`.
    pub bin_transforms: Option<(Level<'a>, &'a BinTransforms)>,
    /// `batching`; one that is switched off is there with `enabled: false`.
    pub batching: Option<(Level<'a>, &'a Batching)>,
    /// `record-ordering`; one that is switched off is there with `enable: false`.
    pub ordering: Option<(Level<'a>, &'a RecordOrdering)>,
}

impl Rules {
    /// The same for every record.
    pub fn same_for_all(routing: Routing, format: Format) -> Rules {
        let top = Overrides { routing: Some(routing), format: Some(format), ..Overrides::default() };
        Rules { top, ..Rules::default() }
    }

    /// What holds for records of `namespace` and `set` that arrive on `port`; `None` for a namespace or set that no
    /// level names, or for a record without a set.
    pub fn resolve(&self, port: Option<u16>, namespace: Option<&str>, set: Option<&str>) -> Resolved<'_> {
        let levels = self.levels(port, namespace, set);
        let first = |has: &dyn Fn(&Overrides) -> bool| levels.iter().find(|(_, own)| has(own));
        Resolved {
            routing: first(&|own| own.routing.is_some()).and_then(|(at, own)| Some((*at, own.routing.as_ref()?))),
            format: first(&|own| own.format.is_some()).and_then(|(at, own)| Some((*at, own.format.as_ref()?))),
            bin_transforms: first(&|own| own.bin_transforms.is_some())
                .and_then(|(at, own)| Some((*at, own.bin_transforms.as_ref()?))),
            batching: first(&|own| own.batching.is_some()).and_then(|(at, own)| Some((*at, own.batching.as_ref()?))),
            ordering: first(&|own| own.ordering.is_some()).and_then(|(at, own)| Some((*at, own.ordering.as_ref()?))),
        }
    }

    /// The levels that can say something, the most special first.
    fn levels(&self, port: Option<u16>, namespace: Option<&str>, set: Option<&str>) -> Vec<(Level<'_>, &Overrides)> {
        let mut levels = Vec::with_capacity(6);
        if let Some(block) = self.ports.iter().find(|block| Some(block.port) == port) {
            push_namespace(&mut levels, Some(block.port), &block.namespaces, namespace, set);
            levels.push((Level { port: Some(block.port), namespace: None, set: None }, &block.own));
        }
        push_namespace(&mut levels, None, &self.namespaces, namespace, set);
        levels.push((Level { port: None, namespace: None, set: None }, &self.top));
        levels
    }
}

fn push_namespace<'a>(
    levels: &mut Vec<(Level<'a>, &'a Overrides)>,
    port: Option<u16>,
    namespaces: &'a [NamespaceRules],
    namespace: Option<&str>,
    set: Option<&str>,
) {
    let Some(rules) = namespaces.iter().find(|rules| Some(rules.name.as_str()) == namespace) else { return };
    let level = Level { port, namespace: Some(rules.name.as_str()), set: None };
    if let Some((name, own)) = rules.sets.iter().find(|(name, _)| Some(name.as_str()) == set) {
        levels.push((Level { set: Some(name.as_str()), ..level }, own));
    }
    levels.push((level, &rules.own));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routed(to: usize) -> Overrides {
        Overrides { routing: Some(Routing::Destinations(vec![to])), ..Overrides::default() }
    }

    fn namespace(name: &str, own: Overrides, set: Overrides) -> NamespaceRules {
        NamespaceRules { name: name.to_owned(), own, sets: vec![("s".to_owned(), set)] }
    }

    /// Where the routing of (port 1, namespace n, set s) is from, while the most special levels are taken away one
    /// after another: the order of decisions.md.
    #[test]
    fn the_most_special_level_holds() {
        let mut rules = Rules {
            top: routed(0),
            namespaces: vec![namespace("n", routed(1), routed(2))],
            ports: vec![PortRules { port: 1, own: routed(3), namespaces: vec![namespace("n", routed(4), routed(5))] }],
        };
        let from = |rules: &Rules| {
            let (level, routing) = rules.resolve(Some(1), Some("n"), Some("s")).routing.unwrap();
            let Routing::Destinations(to) = routing else { panic!() };
            (to[0], level.path("routing"))
        };
        assert_eq!(from(&rules), (5, "port-based-config.1.namespaces.n.sets.s.routing".to_owned()));
        rules.ports[0].namespaces[0].sets.clear();
        assert_eq!(from(&rules), (4, "port-based-config.1.namespaces.n.routing".to_owned()));
        rules.ports[0].namespaces.clear();
        assert_eq!(from(&rules), (3, "port-based-config.1.routing".to_owned()));
        rules.ports.clear();
        assert_eq!(from(&rules), (2, "namespaces.n.sets.s.routing".to_owned()));
        rules.namespaces[0].sets.clear();
        assert_eq!(from(&rules), (1, "namespaces.n.routing".to_owned()));
        rules.namespaces.clear();
        assert_eq!(from(&rules), (0, "routing".to_owned()));
        rules.top = Overrides::default();
        assert_eq!(rules.resolve(Some(1), Some("n"), Some("s")).routing, None);
    }

    #[test]
    fn each_kind_is_looked_up_on_its_own() {
        let mut rules = Rules { top: routed(0), ..Rules::default() };
        rules.top.format = Some(Format::Xdr);
        rules.namespaces.push(namespace("n", routed(1), Overrides::default()));
        let resolved = rules.resolve(None, Some("n"), Some("s"));
        assert_eq!(resolved.routing.unwrap().0.path("routing"), "namespaces.n.routing");
        assert_eq!(resolved.format.unwrap().0.path("format"), "format");
        assert_eq!(resolved.batching, None);
    }
}
