//! Settings at several levels, drawn by seed; and what holds for each kind of record, resolved here once more and in
//! another way than the connector does it.

use std::time::Duration;

use ringpost::config::model::{
    BatchBody, Batching, Format, NamespaceRules, Overrides, PortRules, RecordOrdering, Routing, Rules, TextRules,
};

use super::random::Random;

/// Ports that nodes connect to. The second one may have a block of its own.
pub const PORTS: [u16; 2] = [8080, 8081];

/// Namespace and set of the records.
pub const NAMES: [(&str, &str); 5] = [("test", "s"), ("test", "t"), ("other", "s"), ("other", "u"), ("third", "")];

/// How a record is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// Flat JSON with this metadata key.
    Flat(String),
    /// Typed JSON.
    Typed,
}

/// How records stand in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    One,
    Array,
    Lines,
}

/// What holds for a kind of record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Empty: it is skipped.
    pub destinations: Vec<usize>,
    pub shape: Shape,
    /// Layout of the body, and the most records in it.
    pub layout: Layout,
    pub max_records: usize,
    /// One version of a record in flight.
    pub ordered: bool,
}

/// Records that come on one port, of this namespace and set.
#[derive(Debug, Clone)]
pub struct Kind {
    pub namespace: &'static str,
    pub set: &'static str,
    pub settings: Settings,
}

/// Every kind, in the order of ports and names.
pub fn kinds(rules: &Rules) -> Vec<Kind> {
    let of_port = |port: u16| {
        NAMES.iter().map(move |&(namespace, set)| Kind {
            namespace,
            set,
            settings: settings(rules, port, namespace, set),
        })
    };
    PORTS.into_iter().flat_map(of_port).collect()
}

fn settings(rules: &Rules, port: u16, namespace: &str, set: &str) -> Settings {
    let within = |all: &[NamespaceRules]| -> Vec<Overrides> {
        let own = all.iter().filter(|own| own.name == namespace);
        let sets = |own: &NamespaceRules| {
            own.sets.iter().filter(|(name, _)| name == set).map(|(_, own)| own.clone()).collect()
        };
        own.flat_map(|own| {
            let sets: Vec<_> = sets(own);
            std::iter::once(own.own.clone()).chain(sets)
        })
        .collect()
    };
    // From the widest to the most special: a later one replaces what it says anything about.
    let mut levels = vec![rules.top.clone()];
    levels.extend(within(&rules.namespaces));
    for block in rules.ports.iter().filter(|block| block.port == port) {
        levels.push(block.own.clone());
        levels.extend(within(&block.namespaces));
    }
    let mut all = Overrides::default();
    for level in levels {
        all.routing = level.routing.or(all.routing);
        all.format = level.format.or(all.format);
        all.batching = level.batching.or(all.batching);
        all.ordering = level.ordering.or(all.ordering);
    }
    let destinations = match all.routing {
        Some(Routing::Destinations(list)) => list,
        _ => Vec::new(),
    };
    let shape = match all.format {
        Some(Format::FlatJson { metadata_key, .. }) => Shape::Flat(metadata_key),
        _ => Shape::Typed,
    };
    let (layout, max_records) = match all.batching.filter(|batching| batching.enabled) {
        None => (Layout::One, 1),
        Some(batching) if batching.body == BatchBody::Array => (Layout::Array, batching.max_records as usize),
        Some(batching) => (Layout::Lines, batching.max_records as usize),
    };
    Settings { destinations, shape, layout, max_records, ordered: all.ordering.is_some_and(|ordering| ordering.enable) }
}

/// What a seed draws them with.
pub struct Draw {
    pub destinations: usize,
    /// Whether there is any batching.
    pub batches: bool,
    /// Whether there is more than the top level.
    pub levels: bool,
    /// Records may be large.
    pub large: bool,
    /// Whether there is any ordering, and whether it coalesces.
    pub ordering: Option<bool>,
}

impl Draw {
    pub fn rules(&self, random: &mut Random) -> Rules {
        let mut top = Overrides {
            routing: Some(Routing::Destinations((0..self.destinations).collect())),
            format: Some(flat("metadata")),
            ..Overrides::default()
        };
        if self.batches {
            top.batching = Some(self.batching(random));
        }
        top.ordering = self.ordering.map(ordering);
        let mut rules = Rules { top, ..Rules::default() };
        if self.levels {
            rules.namespaces = vec![self.namespace("test", "t", random), self.namespace("other", "u", random)];
            if random.chance(50) {
                let own = self.overrides(random);
                let namespaces = vec![self.namespace("other", "s", random)];
                rules.ports.push(PortRules { port: PORTS[1], own, namespaces });
            }
        }
        rules
    }

    fn namespace(&self, name: &str, set: &str, random: &mut Random) -> NamespaceRules {
        let own = self.overrides(random);
        NamespaceRules { name: name.to_owned(), own, sets: vec![(set.to_owned(), self.overrides(random))] }
    }

    fn overrides(&self, random: &mut Random) -> Overrides {
        Overrides {
            routing: random.chance(50).then(|| self.routing(random)),
            format: random.chance(40).then(|| if random.chance(50) { typed() } else { flat("m") }),
            bin_transforms: None,
            batching: (self.batches && random.chance(50)).then(|| self.batching(random)),
            ordering: self
                .ordering
                .filter(|_| random.chance(20))
                .map(|coalesce| RecordOrdering { enable: random.chance(50), ..ordering(coalesce) }),
        }
    }

    fn routing(&self, random: &mut Random) -> Routing {
        if random.chance(10) {
            return Routing::Skip;
        }
        let mut list: Vec<usize> = (0..self.destinations).filter(|_| random.chance(60)).collect();
        if list.is_empty() {
            list.push(random.size(0, self.destinations - 1));
        }
        if random.chance(30) {
            list.reverse();
        }
        Routing::Destinations(list)
    }

    fn batching(&self, random: &mut Random) -> Batching {
        Batching {
            enabled: random.chance(85),
            // Not more than the network carries within a call time-out.
            max_bytes: random.pick(if self.large { &[600, 5_000, 40_000] } else { &[300, 1_000, 3_000] }),
            max_records: random.pick(&[1, 2, 3, 5, 20]),
            interval: Duration::from_millis(random.pick(&[5, 20, 100, 500, 5_000])),
            body: if random.chance(50) { BatchBody::Array } else { BatchBody::NdJson },
        }
    }
}

fn ordering(coalesce_waiting: bool) -> RecordOrdering {
    // Longer than any run, so that nothing is forgotten.
    let ttl = Duration::from_secs(1_000);
    RecordOrdering { enable: true, ttl, coalesce_waiting, max_entries: 100_000 }
}

fn flat(metadata_key: &str) -> Format {
    Format::FlatJson { metadata_key: metadata_key.to_owned(), stringify_map_keys: true, text: TextRules::default() }
}

fn typed() -> Format {
    Format::Json { stringify_map_keys: true, text: TextRules::default() }
}
