//! Namespace and set of a record in flight as a small number, so that a log line can name them long after its frame is
//! gone, and a record does not carry two strings.

use std::collections::HashMap;

use crate::record::ChangeRecord;

/// Pairs that are remembered. Records of further ones are named by their digest alone.
const LIMIT: usize = 4096;

/// Stands for a pair that is not remembered.
const UNNAMED: NameId = NameId(u16::MAX);

/// A pair of namespace and set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameId(u16);

/// The pairs that an executor has seen.
#[derive(Debug, Default)]
pub struct Names {
    ids: HashMap<Vec<u8>, NameId>,
    texts: Vec<String>,
    /// The pair of the record before, since most records are of the same one.
    last: Vec<u8>,
    last_id: Option<NameId>,
    scratch: Vec<u8>,
}

impl Names {
    /// The number of the record's pair. Allocates for a pair that is new.
    pub fn id(&mut self, record: &ChangeRecord<'_>) -> NameId {
        self.scratch.clear();
        self.scratch.extend_from_slice(record.namespace);
        // No namespace has this byte, so that no two pairs are the same.
        self.scratch.push(0);
        self.scratch.extend_from_slice(record.set.unwrap_or_default());
        if let Some(id) = self.last_id
            && self.last == self.scratch
        {
            return id;
        }
        let known = self.ids.get(self.scratch.as_slice()).copied();
        let id = known.unwrap_or_else(|| self.add(record));
        self.last.clone_from(&self.scratch);
        self.last_id = Some(id);
        id
    }

    fn add(&mut self, record: &ChangeRecord<'_>) -> NameId {
        let Some(id) = u16::try_from(self.texts.len()).ok().filter(|_| self.texts.len() < LIMIT) else {
            return UNNAMED;
        };
        let set = record.set.unwrap_or(b"(no set)");
        self.texts.push(format!("{}/{}/", record.namespace.escape_ascii(), set.escape_ascii()));
        self.ids.insert(self.scratch.clone(), NameId(id));
        NameId(id)
    }

    /// `namespace/set/`, or nothing for a pair that is not remembered.
    pub fn text(&self, id: NameId) -> &str {
        self.texts.get(usize::from(id.0)).map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let pairs: [(&[u8], &[u8]); 4] = [(b"test", b"a"), (b"test", b""), (b"testa", b""), (b"test", b"a")];
        let ids: Vec<NameId> =
            pairs.iter().map(|(namespace, set)| names.id(&record::decode(&message(namespace, set)).unwrap())).collect();
        assert_eq!(ids[0], ids[3]);
        assert!(ids[0] != ids[1] && ids[1] != ids[2]);
        assert_eq!(names.text(ids[0]), "test/a/");
        assert_eq!(names.text(ids[1]), "test/(no set)/");
    }

    #[test]
    fn beyond_the_limit_nothing_is_kept() {
        let mut names = Names::default();
        for number in 0..LIMIT + 10 {
            let id = names.id(&record::decode(&message(b"test", number.to_string().as_bytes())).unwrap());
            assert_eq!(names.text(id).is_empty(), number >= LIMIT);
        }
    }
}
