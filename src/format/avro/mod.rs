//! Avro: a datum of one schema, written from the borrowed record (decisions.md, "Formats").
//!
//! The schema is parsed and compiled once to a [`plan`]; [`encoder`] fits records to its top, [`datum`] values to its
//! types. What stands for fields without a value is encoded in advance by [`defaults`].

mod binary;
mod datum;
mod defaults;
mod encoder;
mod entries;
mod metadata;
mod plan;
mod source;

pub(super) use encoder::Encoder;

use std::sync::Arc;

use plan::{Node, NodeId, Plan};

/// A schema, parsed, checked and compiled. Cheap to clone. Two are equal if their text is.
#[derive(Clone)]
pub struct AvroSchema {
    text: Arc<str>,
    plan: Arc<Plan>,
}

impl AvroSchema {
    /// Reads a schema in JSON: a record or a map.
    ///
    /// # Errors
    /// What is wrong with it, and what to write instead.
    pub fn parse(text: &str) -> Result<AvroSchema, String> {
        let json = source::read(text)?;
        let schema = apache_avro::Schema::parse(&json).map_err(|error| format!("the schema is not valid: {error}"))?;
        let plan = Plan::new(&schema)?;
        if matches!(plan.node(plan.root), Node::Record(top) if top.fields.is_empty()) {
            return Err(
                "the record has no fields, so that every body would be empty; write a field for each bin".to_owned()
            );
        }
        Ok(AvroSchema { text: source::compact(text).into(), plan: Arc::new(plan) })
    }

    /// The schema as compact JSON, as it stands in the head of an object container file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the schema is a map, whose bodies have no other names than those of the bins.
    pub fn is_map(&self) -> bool {
        matches!(self.plan.node(self.plan.root), Node::Map(_))
    }

    /// Whether the metadata can be written under `key` (`format.metadata-key`).
    ///
    /// # Errors
    /// Why not, and what to write instead.
    pub fn check_metadata_key(&self, key: &str) -> Result<(), String> {
        match self.plan.node(self.plan.root) {
            Node::Record(top) => {
                let Some(field) = top.fields.iter().find(|field| field.name == key) else {
                    let names: Vec<&str> = top.fields.iter().map(|field| field.name.as_str()).collect();
                    return Err(format!(
                        "the schema has no field \"{key}\" for the metadata; its fields are: {}",
                        names.join(", ")
                    ));
                };
                self.check_holds_metadata(field.node, &format!("field \"{key}\""))
            }
            Node::Map(values) => self.check_holds_metadata(*values, "the map's value type"),
            _ => Ok(()),
        }
    }

    /// The fields at the top that bins have to fill: those without a default that cannot be null. With any of them no
    /// delete can be written, nor an update that leaves out such a bin: each is answered as a content error.
    pub fn fields_that_need_a_bin(&self, metadata_key: Option<&str>) -> Vec<&str> {
        let Node::Record(top) = self.plan.node(self.plan.root) else { return Vec::new() };
        let is_metadata = |field: &plan::Field| match metadata_key {
            Some(key) => field.name == key,
            None => field.metadata.is_some(),
        };
        let needy = top.fields.iter().filter(|field| field.missing.is_none() && !is_metadata(field));
        needy.map(|field| field.name.as_str()).collect()
    }

    fn check_holds_metadata(&self, id: NodeId, what: &str) -> Result<(), String> {
        let plan = &self.plan;
        let candidates: Vec<NodeId> = match plan.node(id) {
            Node::Union(union) => union.maps.iter().map(|index| plan.branch(union, *index)).collect(),
            Node::Record(_) | Node::Map(_) => vec![id],
            _ => Vec::new(),
        };
        if candidates.is_empty() {
            return Err(format!(
                "{what} is {}, which cannot hold the metadata; make it a record or map, or a union with one",
                plan.types(id)
            ));
        }
        // A record that asks for more than metadata without a default fits no record at all.
        let mut asked = None;
        for candidate in candidates {
            let Node::Record(record) = plan.node(candidate) else { return Ok(()) };
            let stranger = record.fields.iter().find(|field| field.metadata.is_none() && field.missing.is_none());
            let Some(stranger) = stranger else { return Ok(()) };
            asked = asked.or(Some(&stranger.name));
        }
        asked.map_or(Ok(()), |name| {
            Err(format!(
                "{what} asks for \"{name}\", which is no metadata; give it a default, or take it out (metadata: {})",
                metadata::NAMES.join(", ")
            ))
        })
    }
}

impl std::fmt::Debug for AvroSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("AvroSchema").field(&self.text).finish()
    }
}

impl PartialEq for AvroSchema {
    fn eq(&self, other: &AvroSchema) -> bool {
        self.text == other.text
    }
}

impl Eq for AvroSchema {}
