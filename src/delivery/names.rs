//! Namespace and set of a record as a small number, with the settings that hold for it: found once per pair and port, so
//! that a record does not carry two strings, a log line can name it long after its frame is gone, and its settings cost
//! one look-up.

use std::collections::HashMap;

use crate::policy::table::{PortId, ProfileId, ProfileTable};
use crate::record::ChangeRecord;

/// Pairs that are remembered. Records of further ones are named by their digest alone, and their settings are looked up
/// each time.
const LIMIT: usize = 4096;

/// Longest key that is remembered; servers have names of 31 and 63 bytes.
const MAX_KEY: usize = 512;

/// Stands for a pair that is not remembered.
pub const UNNAMED: NameId = NameId(u16::MAX);

/// A pair of namespace and set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameId(u16);

/// What is known of a record by its port, namespace and set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Its names, for the log.
    pub name: NameId,
    /// Its settings.
    pub profile: ProfileId,
}

/// The kinds that an executor has seen.
#[derive(Debug, Default)]
pub struct Names {
    kinds: HashMap<Vec<u8>, Kind>,
    texts: Vec<String>,
    /// The kind of the record before, since most records are of the same one.
    last: Vec<u8>,
    last_kind: Option<(PortId, Kind)>,
    scratch: Vec<u8>,
    /// For look-ups in the table.
    lookup: Vec<u8>,
}

impl Names {
    /// The kind of a record that came in on `port`. Allocates for one that is new.
    pub fn kind(&mut self, port: PortId, record: &ChangeRecord<'_>, table: &ProfileTable) -> Kind {
        self.scratch.clear();
        self.scratch.extend_from_slice(record.namespace);
        // No namespace has this byte, so that no two pairs are the same.
        self.scratch.push(0);
        self.scratch.extend_from_slice(record.set.unwrap_or_default());
        if let Some((known, kind)) = self.last_kind
            && known == port
            && self.last == self.scratch
        {
            return kind;
        }
        self.last.clone_from(&self.scratch);
        // A port's number cannot be mistaken for a part of the set behind it: its length is fixed.
        self.scratch.extend_from_slice(&port.bytes());
        let known = self.kinds.get(self.scratch.as_slice()).copied();
        let kind = known.unwrap_or_else(|| self.add(port, record, table));
        self.last_kind = Some((port, kind));
        kind
    }

    fn add(&mut self, port: PortId, record: &ChangeRecord<'_>, table: &ProfileTable) -> Kind {
        let profile = table.find(port, record.namespace, record.set.unwrap_or_default(), &mut self.lookup);
        let room = self.texts.len() < LIMIT && self.scratch.len() <= MAX_KEY;
        let Some(id) = u16::try_from(self.texts.len()).ok().filter(|_| room) else {
            return Kind { name: UNNAMED, profile };
        };
        let set = record.set.unwrap_or(b"(no set)");
        self.texts.push(format!("{}/{}/", record.namespace.escape_ascii(), set.escape_ascii()));
        let kind = Kind { name: NameId(id), profile };
        self.kinds.insert(self.scratch.clone(), kind);
        kind
    }

    /// `namespace/set/`, or nothing for a pair that is not remembered.
    pub fn text(&self, id: NameId) -> &str {
        self.texts.get(usize::from(id.0)).map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Rules;
    use crate::record;

    /// A delete of digest 0 with these names.
    fn message(namespace: &[u8], set: &[u8]) -> Vec<u8> {
        let mut bytes = vec![22, 0x10, 0x03, 0, 0, 0];
        bytes.extend_from_slice(&[0; 12]);
        bytes.extend_from_slice(&[0, 3, 0, 0]);
        for (kind, data) in [(0u8, namespace), (1, set), (4, &[0; 20])] {
            bytes.extend_from_slice(&(data.len() as u32 + 1).to_be_bytes());
            bytes.push(kind);
            bytes.extend_from_slice(data);
        }
        bytes
    }

    #[test]
    fn a_pair_keeps_its_number_and_its_text() {
        let mut names = Names::default();
        let table = ProfileTable::new(&Rules::default());
        let port = table.port(1);
        let pairs: [(&[u8], &[u8]); 4] = [(b"test", b"a"), (b"test", b""), (b"testa", b""), (b"test", b"a")];
        let ids: Vec<NameId> = pairs
            .iter()
            .map(|(namespace, set)| names.kind(port, &record::decode(&message(namespace, set)).unwrap(), &table).name)
            .collect();
        assert_eq!(ids[0], ids[3]);
        assert!(ids[0] != ids[1] && ids[1] != ids[2]);
        assert_eq!(names.text(ids[0]), "test/a/");
        assert_eq!(names.text(ids[1]), "test/(no set)/");
    }

    #[test]
    fn beyond_the_limit_nothing_is_kept() {
        let mut names = Names::default();
        let table = ProfileTable::new(&Rules::default());
        let port = table.port(1);
        for number in 0..LIMIT + 10 {
            let id = names
                .kind(port, &record::decode(&message(b"test", number.to_string().as_bytes())).unwrap(), &table)
                .name;
            assert_eq!(names.text(id).is_empty(), number >= LIMIT);
        }
    }
}
