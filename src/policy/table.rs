//! The settings of each kind of record, resolved once at start.
//!
//! Kinds of records that resolve to the same settings share a [`Profile`]. A record's profile is found by its port,
//! namespace and set: one look-up for a set that the configuration names, one more for any other. The executor
//! remembers the answer for the pairs that it has seen (`delivery::names`).

use std::collections::HashMap;

use crate::config::model::{Batching, BinTransforms, Format, Routing, Rules};

/// Names a [`Profile`] of a [`ProfileTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProfileId(u16);

/// Names the settings of a listening port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PortId(u16);

/// What happens to records of one kind. Formats, transforms and batchings that several profiles have are kept once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Which destinations; `None`: no level says anything.
    pub routing: Option<Routing>,
    /// Index into [`ProfileTable::formats`].
    pub format: usize,
    /// Index into [`ProfileTable::transforms`].
    pub transforms: Option<usize>,
    /// Batching, if it is switched on.
    pub batching: Option<Batching>,
}

/// Profiles by port, namespace and set.
#[derive(Debug)]
pub struct ProfileTable {
    profiles: Vec<Profile>,
    /// Different formats.
    pub formats: Vec<Format>,
    /// Different `bin-transforms`.
    pub transforms: Vec<BinTransforms>,
    /// Ports with a block of their own; their place is their [`PortId`].
    ports: Vec<u16>,
    /// By [`PortId`]; the last one is of all other ports.
    scopes: Vec<Scope>,
}

/// Profiles of one port.
#[derive(Debug)]
struct Scope {
    /// Of namespaces that no level names.
    other: ProfileId,
    /// Of sets that no level names.
    namespaces: HashMap<Vec<u8>, ProfileId>,
    /// By namespace, zero byte, set.
    sets: HashMap<Vec<u8>, ProfileId>,
}

/// More profiles than a file of the largest size can describe.
const MAX_PROFILES: usize = u16::MAX as usize;

impl ProfileTable {
    /// Resolves every combination that the rules name.
    pub fn new(rules: &Rules) -> ProfileTable {
        let ports: Vec<u16> = rules.ports.iter().map(|block| block.port).collect();
        let mut table = ProfileTable {
            profiles: Vec::new(),
            formats: Vec::new(),
            transforms: Vec::new(),
            ports,
            scopes: Vec::new(),
        };
        let all: Vec<Option<u16>> = table.ports.iter().map(|port| Some(*port)).chain([None]).collect();
        for port in all {
            let scope = table.scope(rules, port);
            table.scopes.push(scope);
        }
        table
    }

    fn scope(&mut self, rules: &Rules, port: Option<u16>) -> Scope {
        let other = self.add(rules, port, None, None);
        let mut scope = Scope { other, namespaces: HashMap::new(), sets: HashMap::new() };
        let of_port = rules.ports.iter().filter(|block| Some(block.port) == port).flat_map(|block| &block.namespaces);
        for namespace in of_port.clone().chain(&rules.namespaces) {
            let name = namespace.name.as_str();
            let id = self.add(rules, port, Some(name), None);
            scope.namespaces.insert(name.as_bytes().to_vec(), id);
            for (set, _) in &namespace.sets {
                let id = self.add(rules, port, Some(name), Some(set));
                let mut key = Vec::new();
                set_key(name.as_bytes(), set.as_bytes(), &mut key);
                scope.sets.insert(key, id);
            }
        }
        scope
    }

    fn add(&mut self, rules: &Rules, port: Option<u16>, namespace: Option<&str>, set: Option<&str>) -> ProfileId {
        let resolved = rules.resolve(port, namespace, set);
        let format = place(&mut self.formats, resolved.format.map_or(&Format::Xdr, |(_, format)| format));
        let transforms = resolved.bin_transforms.map(|(_, transforms)| place(&mut self.transforms, transforms));
        let profile = Profile {
            routing: resolved.routing.map(|(_, routing)| routing.clone()),
            format,
            transforms,
            batching: resolved.batching.map(|(_, batching)| batching.clone()).filter(|batching| batching.enabled),
        };
        let place = place(&mut self.profiles, &profile);
        debug_assert!(place < MAX_PROFILES);
        ProfileId(u16::try_from(place).unwrap_or(u16::MAX))
    }

    /// The settings of a listening port.
    pub fn port(&self, port: u16) -> PortId {
        let place = self.ports.iter().position(|known| *known == port).unwrap_or(self.ports.len());
        PortId(u16::try_from(place).unwrap_or(u16::MAX))
    }

    /// The profile of a record; `set` is empty for a record without one. `scratch` is used for the key.
    pub fn find(&self, port: PortId, namespace: &[u8], set: &[u8], scratch: &mut Vec<u8>) -> ProfileId {
        let Some(scope) = self.scopes.get(usize::from(port.0)).or(self.scopes.last()) else { return ProfileId(0) };
        if !set.is_empty() && !scope.sets.is_empty() {
            set_key(namespace, set, scratch);
            if let Some(id) = scope.sets.get(scratch.as_slice()) {
                return *id;
            }
        }
        if scope.namespaces.is_empty() {
            return scope.other;
        }
        scope.namespaces.get(namespace).copied().unwrap_or(scope.other)
    }

    /// The profile with this name.
    pub fn profile(&self, id: ProfileId) -> Option<&Profile> {
        self.profiles.get(usize::from(id.0))
    }

    /// All profiles, in the order of their names.
    pub fn profiles(&self) -> impl Iterator<Item = (ProfileId, &Profile)> {
        self.profiles.iter().enumerate().map(|(place, profile)| (ProfileId(place as u16), profile))
    }
}

impl PortId {
    /// Its number as bytes, for keys.
    pub const fn bytes(self) -> [u8; 2] {
        self.0.to_le_bytes()
    }
}

impl ProfileId {
    /// Its place among [`ProfileTable::profiles`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// No namespace has a zero byte, so that no two pairs have the same key.
fn set_key(namespace: &[u8], set: &[u8], key: &mut Vec<u8>) {
    key.clear();
    key.extend_from_slice(namespace);
    key.push(0);
    key.extend_from_slice(set);
}

/// Where `item` stands in `all`; it is added if it is not there.
fn place<T: PartialEq + Clone>(all: &mut Vec<T>, item: &T) -> usize {
    if let Some(place) = all.iter().position(|known| known == item) {
        return place;
    }
    all.push(item.clone());
    all.len() - 1
}
