//! A schema as the encoder reads it: nodes in one list that name each other by number, so that types can recur.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::{Aliases, InnerDecimalSchema, Name, RecordSchema, UuidSchema};
use serde_json::Value as Json;

use super::{defaults, metadata, source};
use crate::format::members::hash;
use crate::record::AvroTypes;

/// Most types and fields in a schema.
const MAX_NODES: usize = 20_000;

/// Place in [`Plan::nodes`].
pub(super) type NodeId = u32;

/// A compiled schema.
#[derive(Debug)]
pub(super) struct Plan {
    nodes: Vec<Node>,
    /// The top of the schema.
    pub(super) root: NodeId,
}

/// One type. Logical types are the type beneath them.
#[derive(Debug)]
pub(super) enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    /// Its size.
    Fixed(usize),
    /// Its symbols.
    Enum(Symbols),
    /// Of these elements.
    Array(NodeId),
    /// Of these values.
    Map(NodeId),
    Union(Union),
    Record(Record),
}

/// One of several types.
#[derive(Debug)]
pub(super) struct Union {
    pub(super) branches: Vec<NodeId>,
    /// Those of `branches` that can take a map.
    pub(super) maps: Vec<u32>,
}

/// The symbols of an enum, in their order.
#[derive(Debug)]
pub(super) struct Symbols {
    names: Vec<String>,
    by_hash: ByHash,
}

/// Named fields, in their order.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) fields: Vec<Field>,
    by_hash: ByHash,
}

/// Hash of each name and its place in a list, sorted.
#[derive(Debug)]
struct ByHash(Vec<(u32, u32)>);

/// A field of a record.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) node: NodeId,
    /// What is written when there is no value: the default, else null; `None`: it must have one.
    pub(super) missing: Option<Vec<u8>>,
    /// Place in [`metadata::NAMES`], if it has such a name.
    pub(super) metadata: Option<usize>,
}

static NULL: Node = Node::Null;

impl Plan {
    /// Compiles `schema`; its defaults stand under [`source::DEFAULT`].
    pub(super) fn new(schema: &Schema) -> Result<Plan, String> {
        let mut compiler = Compiler::default();
        let root = compiler.node(schema)?;
        let mut plan = Plan { nodes: compiler.nodes, root };
        if !matches!(plan.node(root), Node::Record(_) | Node::Map(_)) {
            return Err(format!(
                "the top of the schema is {}; write a record ({{\"type\":\"record\",\"name\":...,\"fields\":[...]}}) \
                 or a map ({{\"type\":\"map\",\"values\":...}})",
                plan.types(root)
            ));
        }
        plan.check_ends(&compiler.records)?;
        plan.fill_missing(&compiler.defaults)?;
        Ok(plan)
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(id as usize).unwrap_or(&NULL)
    }

    /// The node that a union's branch is.
    pub(super) fn branch(&self, union: &Union, index: u32) -> NodeId {
        union.branches.get(index as usize).copied().unwrap_or_default()
    }

    /// What the node takes, for messages.
    pub(super) fn types(&self, id: NodeId) -> AvroTypes {
        match self.node(id) {
            Node::Union(union) => {
                union.branches.iter().fold(AvroTypes::NONE, |types, id| types.or(self.node(*id).kind()))
            }
            node => node.kind(),
        }
    }

    /// Refuses records that no finite value fits: those that have themselves as a field, without a way out.
    fn check_ends(&self, records: &[(NodeId, String)]) -> Result<(), String> {
        let mut ends = vec![false; self.nodes.len()];
        let ended = |ends: &[bool], id: &NodeId| ends.get(*id as usize).copied().unwrap_or_default();
        loop {
            let mut grew = false;
            for at in 0..self.nodes.len() {
                let now = match self.node(at as NodeId) {
                    Node::Record(record) => record.fields.iter().all(|field| ended(&ends, &field.node)),
                    Node::Union(union) => union.branches.iter().any(|branch| ended(&ends, branch)),
                    _ => true,
                };
                if let Some(end) = ends.get_mut(at)
                    && now
                    && !*end
                {
                    (*end, grew) = (true, true);
                }
            }
            if !grew {
                break;
            }
        }
        match records.iter().find(|(id, _)| !ended(&ends, id)) {
            None => Ok(()),
            Some((_, name)) => Err(format!(
                "record \"{name}\" contains itself without an end; make the field that does a union with \"null\", an array or a map"
            )),
        }
    }

    /// Encodes what is written for each field without a value.
    fn fill_missing(&mut self, json: &defaults::Defaults) -> Result<(), String> {
        let mut budget = defaults::Budget::default();
        for at in 0..self.nodes.len() {
            let Node::Record(record) = self.node(at as NodeId) else { continue };
            let mut all = Vec::with_capacity(record.fields.len());
            for (place, field) in record.fields.iter().enumerate() {
                let default = json.get(&(at as NodeId, place));
                let bytes = match default {
                    Some(value) => Some(
                        defaults::encode(self, json, field.node, value, &mut budget)
                            .map_err(|reason| format!("the default of field \"{}\": {reason}", field.name))?,
                    ),
                    None => self.null(field.node),
                };
                all.push(bytes);
            }
            if let Some(Node::Record(record)) = self.nodes.get_mut(at) {
                record.fields.iter_mut().zip(all).for_each(|(field, bytes)| field.missing = bytes);
            }
        }
        Ok(())
    }

    /// Null as a value of this node, if it can be.
    fn null(&self, id: NodeId) -> Option<Vec<u8>> {
        match self.node(id) {
            Node::Null => Some(Vec::new()),
            Node::Union(union) => {
                let index = union.branches.iter().position(|branch| matches!(self.node(*branch), Node::Null))?;
                let mut bytes = Vec::new();
                super::binary::long(&mut bytes, index as i64);
                Some(bytes)
            }
            _ => None,
        }
    }
}

impl Node {
    const fn kind(&self) -> AvroTypes {
        match self {
            Node::Null => AvroTypes::NULL,
            Node::Boolean => AvroTypes::BOOLEAN,
            Node::Int => AvroTypes::INT,
            Node::Long => AvroTypes::LONG,
            Node::Float => AvroTypes::FLOAT,
            Node::Double => AvroTypes::DOUBLE,
            Node::Bytes => AvroTypes::BYTES,
            Node::String => AvroTypes::STRING,
            Node::Fixed(_) => AvroTypes::FIXED,
            Node::Enum(_) => AvroTypes::ENUM,
            Node::Array(_) => AvroTypes::ARRAY,
            Node::Map(_) => AvroTypes::MAP,
            Node::Record(_) => AvroTypes::RECORD,
            Node::Union(_) => AvroTypes::NONE,
        }
    }
}

impl Symbols {
    fn new(names: Vec<String>) -> Symbols {
        let by_hash = ByHash::new(names.iter().map(String::as_str));
        Symbols { names, by_hash }
    }

    /// The place of this symbol.
    pub(super) fn find(&self, symbol: &[u8]) -> Option<usize> {
        self.by_hash.find(symbol, |place| self.names.get(place).map(String::as_str))
    }
}

impl Record {
    fn new(fields: Vec<Field>) -> Record {
        let by_hash = ByHash::new(fields.iter().map(|field| field.name.as_str()));
        Record { fields, by_hash }
    }

    /// The place of the field with this name. Tries `guess` first: bins and fields tend to have the same order.
    #[inline]
    pub(super) fn find(&self, name: &[u8], guess: usize) -> Option<usize> {
        let at = |place: usize| self.fields.get(place).map(|field| field.name.as_str());
        if at(guess).map(str::as_bytes) == Some(name) { Some(guess) } else { self.by_hash.find(name, at) }
    }
}

impl ByHash {
    fn new<'a>(names: impl Iterator<Item = &'a str>) -> ByHash {
        let mut all: Vec<(u32, u32)> = names.zip(0u32..).map(|(name, place)| (hash(name.as_bytes()), place)).collect();
        all.sort_unstable();
        ByHash(all)
    }

    /// The place of `name`, if `at` has that name there.
    #[inline]
    fn find<'a>(&self, name: &[u8], at: impl Fn(usize) -> Option<&'a str>) -> Option<usize> {
        let hash = hash(name);
        let from = self.0.partition_point(|(other, _)| *other < hash);
        let candidates = self.0.get(from..).unwrap_or_default().iter().take_while(|(other, _)| *other == hash);
        candidates.map(|(_, place)| *place as usize).find(|place| at(*place).map(str::as_bytes) == Some(name))
    }
}

#[derive(Default)]
struct Compiler {
    nodes: Vec<Node>,
    names: HashMap<String, NodeId>,
    /// Records with their names.
    records: Vec<(NodeId, String)>,
    defaults: HashMap<(NodeId, usize), Json>,
    fields: usize,
}

impl Compiler {
    /// Recurses as deep as the text of the schema is nested, which [`source::read`] bounds.
    fn node(&mut self, schema: &Schema) -> Result<NodeId, String> {
        let node = match schema {
            Schema::Null => Node::Null,
            Schema::Boolean => Node::Boolean,
            Schema::Int | Schema::Date | Schema::TimeMillis => Node::Int,
            Schema::Long
            | Schema::TimeMicros
            | Schema::TimestampMillis
            | Schema::TimestampMicros
            | Schema::TimestampNanos
            | Schema::LocalTimestampMillis
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos => Node::Long,
            Schema::Float => Node::Float,
            Schema::Double => Node::Double,
            Schema::Bytes | Schema::BigDecimal | Schema::Uuid(UuidSchema::Bytes) => Node::Bytes,
            Schema::String | Schema::Uuid(UuidSchema::String) => Node::String,
            Schema::Fixed(fixed) | Schema::Duration(fixed) | Schema::Uuid(UuidSchema::Fixed(fixed)) => {
                return self.named(&fixed.name, &fixed.aliases, Node::Fixed(fixed.size));
            }
            Schema::Decimal(decimal) => match &decimal.inner {
                InnerDecimalSchema::Bytes => Node::Bytes,
                InnerDecimalSchema::Fixed(fixed) => {
                    return self.named(&fixed.name, &fixed.aliases, Node::Fixed(fixed.size));
                }
            },
            Schema::Enum(of) => return self.named(&of.name, &of.aliases, Node::Enum(Symbols::new(of.symbols.clone()))),
            Schema::Array(array) => Node::Array(self.node(&array.items)?),
            Schema::Map(map) => Node::Map(self.node(&map.types)?),
            Schema::Union(union) => return self.union(union.variants()),
            Schema::Record(record) => return self.record(record),
            Schema::Ref { name } => {
                let known = self.names.get(&name.fullname(None)).copied();
                return known.ok_or_else(|| format!("there is no type \"{}\"", name.fullname(None)));
            }
        };
        self.add(node)
    }

    fn add(&mut self, node: Node) -> Result<NodeId, String> {
        if self.nodes.len() + self.fields >= MAX_NODES {
            return Err(format!("the schema has more than {MAX_NODES} types and fields"));
        }
        self.nodes.push(node);
        Ok((self.nodes.len() - 1) as NodeId)
    }

    fn named(&mut self, name: &Name, aliases: &Aliases, node: Node) -> Result<NodeId, String> {
        let id = self.add(node)?;
        if self.names.insert(name.fullname(None), id).is_some() {
            return Err(format!(
                "the name \"{}\" is defined twice; define it once and then write only its name as the type",
                name.fullname(None)
            ));
        }
        for alias in aliases.iter().flatten() {
            self.names.insert(alias.fully_qualified_name(name.namespace()).fullname(None), id);
        }
        Ok(id)
    }

    fn union(&mut self, variants: &[Schema]) -> Result<NodeId, String> {
        if variants.is_empty() {
            return Err("a union without types fits no value; write at least one, e.g. [\"null\",\"string\"]".into());
        }
        let mut branches = Vec::with_capacity(variants.len());
        let mut maps = Vec::new();
        for (variant, index) in variants.iter().zip(0u32..) {
            let id = self.node(variant)?;
            // A record that is being compiled stands as an empty one.
            if matches!(self.nodes.get(id as usize), Some(Node::Record(_) | Node::Map(_))) {
                maps.push(index);
            }
            branches.push(id);
        }
        self.add(Node::Union(Union { branches, maps }))
    }

    fn record(&mut self, record: &RecordSchema) -> Result<NodeId, String> {
        let id = self.named(&record.name, &record.aliases, Node::Record(Record::new(Vec::new())))?;
        self.records.push((id, record.name.fullname(None)));
        let mut fields = Vec::with_capacity(record.fields.len());
        for (place, field) in record.fields.iter().enumerate() {
            self.fields += 1;
            let node = self.node(&field.schema)?;
            if let Some(default) = field.custom_attributes.get(source::DEFAULT) {
                self.defaults.insert((id, place), default.clone());
            }
            let metadata = metadata::index(&field.name);
            fields.push(Field { name: field.name.clone(), node, missing: None, metadata });
        }
        if let Some(node) = self.nodes.get_mut(id as usize) {
            *node = Node::Record(Record::new(fields));
        }
        Ok(id)
    }
}
