//! The settings of each kind of record, resolved once at start.
//!
//! Kinds of records that resolve to the same settings share a [`Profile`]. A record's profile is found by its port,
//! namespace and set: one look-up for a set that the configuration names, one more for any other. The executor
//! remembers the answer for the pairs that it has seen (`delivery::names`).

use std::collections::HashMap;

use crate::config::model::{Batching, BinTransforms, Format, RecordOrdering, Routing, Rules};

/// Names a [`Profile`] of a [`ProfileTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProfileId(u32);

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
    /// Ordering, if it is switched on.
    pub ordering: Option<RecordOrdering>,
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

/// Where the blocks of the file have been put, by their addresses: each is kept once, however many kinds of records it
/// holds for. Blocks that say the same stay apart, so that nothing has to be compared.
#[derive(Debug, Default)]
struct Seen {
    formats: HashMap<*const Format, usize>,
    transforms: HashMap<*const BinTransforms, usize>,
    profiles: HashMap<Origin, ProfileId>,
}

/// The blocks that a profile is made of.
type Origin = (Option<*const Routing>, usize, Option<usize>, Option<*const Batching>, Option<*const RecordOrdering>);

impl ProfileTable {
    /// Resolves every combination that the rules name; the configuration bounds their number.
    pub fn new(rules: &Rules) -> ProfileTable {
        let ports: Vec<u16> = rules.ports.iter().map(|block| block.port).collect();
        let all: Vec<Option<u16>> = ports.iter().map(|port| Some(*port)).chain([None]).collect();
        let mut table = ProfileTable {
            profiles: Vec::new(),
            formats: Vec::new(),
            transforms: Vec::new(),
            ports,
            scopes: Vec::new(),
        };
        let mut seen = Seen::default();
        for port in all {
            let scope = table.scope(rules, port, &mut seen);
            table.scopes.push(scope);
        }
        table
    }

    fn scope(&mut self, rules: &Rules, port: Option<u16>, seen: &mut Seen) -> Scope {
        let other = self.add(rules, port, None, None, seen);
        let mut scope = Scope { other, namespaces: HashMap::new(), sets: HashMap::new() };
        let of_port = rules.ports.iter().filter(|block| Some(block.port) == port).flat_map(|block| &block.namespaces);
        for namespace in of_port.chain(&rules.namespaces) {
            let name = namespace.name.as_str();
            let id = self.add(rules, port, Some(name), None, seen);
            scope.namespaces.insert(name.as_bytes().to_vec(), id);
            for (set, _) in &namespace.sets {
                let id = self.add(rules, port, Some(name), Some(set), seen);
                let mut key = Vec::new();
                set_key(name.as_bytes(), set.as_bytes(), &mut key);
                scope.sets.insert(key, id);
            }
        }
        scope
    }

    fn add(
        &mut self,
        rules: &Rules,
        port: Option<u16>,
        namespace: Option<&str>,
        set: Option<&str>,
        seen: &mut Seen,
    ) -> ProfileId {
        static DEFAULT: Format = Format::Xdr;
        let resolved = rules.resolve(port, namespace, set);
        let format = place(&mut self.formats, &mut seen.formats, resolved.format.map_or(&DEFAULT, |(_, it)| it));
        let transforms = resolved.bin_transforms.map(|(_, it)| place(&mut self.transforms, &mut seen.transforms, it));
        let routing = resolved.routing.map(|(_, routing)| routing);
        let batching = resolved.batching.map(|(_, batching)| batching).filter(|batching| batching.enabled);
        let ordering = resolved.ordering.map(|(_, ordering)| ordering).filter(|ordering| ordering.enable);
        let pointers = (batching.map(std::ptr::from_ref), ordering.map(std::ptr::from_ref));
        let origin = (routing.map(std::ptr::from_ref), format, transforms, pointers.0, pointers.1);
        *seen.profiles.entry(origin).or_insert_with(|| {
            let (routing, batching) = (routing.cloned(), batching.cloned());
            let profile = Profile { routing, format, transforms, batching, ordering: ordering.copied() };
            self.profiles.push(profile);
            ProfileId(u32::try_from(self.profiles.len() - 1).unwrap_or(u32::MAX))
        })
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
        self.profiles.get(id.index())
    }

    /// All profiles, in the order of their names.
    pub fn profiles(&self) -> &[Profile] {
        &self.profiles
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
fn place<T: Clone>(all: &mut Vec<T>, seen: &mut HashMap<*const T, usize>, item: &T) -> usize {
    *seen.entry(std::ptr::from_ref(item)).or_insert_with(|| {
        all.push(item.clone());
        all.len() - 1
    })
}
