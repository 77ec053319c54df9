//! Default values: from their JSON to the bytes that are written, once, when the schema is read (Avro specification,
//! "Complex Types", table of field default values).
//!
//! Defaults of records take the defaults of their fields, so a short schema can ask for endless bytes; all of this has
//! one budget.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::binary;
use super::plan::{Node, NodeId, Plan, Record};

/// Most bytes in all defaults of a schema, and most values in them.
const MAX_DEFAULT_BYTES: usize = 1 << 20;

/// Deepest nesting of records that take their fields' defaults.
const MAX_DEFAULT_DEPTH: u32 = 64;

/// Defaults as written in the schema, by record and place of the field.
pub(super) type Defaults = HashMap<(NodeId, usize), Json>;

/// What is left for the defaults of one schema.
#[derive(Debug)]
pub(super) struct Budget {
    left: usize,
    depth: u32,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { left: MAX_DEFAULT_BYTES, depth: 0 }
    }
}

/// The bytes of `value` as a value of node `id`.
pub(super) fn encode(
    plan: &Plan,
    defaults: &Defaults,
    id: NodeId,
    value: &Json,
    budget: &mut Budget,
) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    Encoder { plan, defaults, budget }.value(id, value, &mut out)?;
    Ok(out)
}

struct Encoder<'p> {
    plan: &'p Plan,
    defaults: &'p Defaults,
    budget: &'p mut Budget,
}

impl Encoder<'_> {
    fn value(&mut self, id: NodeId, value: &Json, out: &mut Vec<u8>) -> Result<(), String> {
        self.budget.depth += 1;
        if self.budget.depth > MAX_DEFAULT_DEPTH {
            return Err(format!("records are nested deeper than {MAX_DEFAULT_DEPTH} in it"));
        }
        let before = out.len();
        self.spend(1)?;
        self.value_inside(id, value, out)?;
        self.spend(out.len().saturating_sub(before))?;
        self.budget.depth -= 1;
        Ok(())
    }

    fn spend(&mut self, amount: usize) -> Result<(), String> {
        let left = self.budget.left.checked_sub(amount);
        self.budget.left =
            left.ok_or_else(|| format!("all defaults of the schema need more than {MAX_DEFAULT_BYTES} bytes"))?;
        Ok(())
    }

    fn value_inside(&mut self, id: NodeId, value: &Json, out: &mut Vec<u8>) -> Result<(), String> {
        let wrong = || format!("{} is no {}", shortened(value), self.plan.types(id));
        match (self.plan.node(id), value) {
            (Node::Null, Json::Null) => {}
            (Node::Boolean, Json::Bool(truth)) => out.push(u8::from(*truth)),
            (Node::Int, Json::Number(number)) => {
                let whole = number.as_i64().and_then(|number| i32::try_from(number).ok()).ok_or_else(wrong)?;
                binary::long(out, i64::from(whole));
            }
            (Node::Long, Json::Number(number)) => binary::long(out, number.as_i64().ok_or_else(wrong)?),
            (Node::Float, Json::Number(number)) => {
                let double = number.as_f64().ok_or_else(wrong)?;
                out.extend_from_slice(&(double as f32).to_le_bytes());
            }
            (Node::Double, Json::Number(number)) => {
                out.extend_from_slice(&number.as_f64().ok_or_else(wrong)?.to_le_bytes());
            }
            (Node::String, Json::String(text)) => binary::bytes(out, text.as_bytes()),
            (Node::Bytes, Json::String(text)) => binary::bytes(out, &latin1(text).ok_or_else(wrong)?),
            (Node::Fixed(size), Json::String(text)) => {
                let bytes = latin1(text)
                    .filter(|bytes| bytes.len() == *size)
                    .ok_or_else(|| format!("{} is no fixed of {size} bytes, one character a byte", shortened(value)))?;
                out.extend_from_slice(&bytes);
            }
            (Node::Enum(symbols), Json::String(text)) => {
                let index = symbols.find(text.as_bytes()).ok_or_else(wrong)?;
                binary::long(out, index as i64);
            }
            (Node::Array(items), Json::Array(values)) => {
                let items = *items;
                if !values.is_empty() {
                    binary::long(out, values.len() as i64);
                }
                values.iter().try_for_each(|value| self.value(items, value, out))?;
                out.push(0);
            }
            (Node::Map(values), Json::Object(members)) => {
                let values = *values;
                if !members.is_empty() {
                    binary::long(out, members.len() as i64);
                }
                for (name, value) in members {
                    binary::bytes(out, name.as_bytes());
                    self.value(values, value, out)?;
                }
                out.push(0);
            }
            (Node::Union(union), _) => return self.union(&union.branches, id, value, out),
            (Node::Record(record), Json::Object(members)) => return self.record(id, record, members, out),
            _ => return Err(wrong()),
        }
        Ok(())
    }

    /// The first branch that takes it. Older specifications know only defaults of the first branch at all.
    fn union(&mut self, branches: &[NodeId], id: NodeId, value: &Json, out: &mut Vec<u8>) -> Result<(), String> {
        let (start, depth) = (out.len(), self.budget.depth);
        for (index, branch) in branches.iter().enumerate() {
            binary::long(out, index as i64);
            if self.value(*branch, value, out).is_ok() {
                return Ok(());
            }
            out.truncate(start);
            self.budget.depth = depth;
        }
        // Exhausted budgets come out here, too, and have a reason of their own.
        self.spend(1)?;
        Err(format!("{} is no {}", shortened(value), self.plan.types(id)))
    }

    fn record(
        &mut self,
        id: NodeId,
        record: &Record,
        members: &serde_json::Map<String, Json>,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        if let Some(name) = members.keys().find(|name| record.find(name.as_bytes(), 0).is_none()) {
            return Err(format!("the record has no field \"{name}\""));
        }
        let defaults = self.defaults;
        for (place, field) in record.fields.iter().enumerate() {
            let value = members.get(&field.name).or_else(|| defaults.get(&(id, place)));
            let value = value.ok_or_else(|| format!("field \"{}\" is not there and has no default", field.name))?;
            self.value(field.node, value, out)?;
        }
        Ok(())
    }
}

/// Bytes in JSON: one character a byte.
fn latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|letter| u8::try_from(u32::from(letter)).ok()).collect()
}

/// A value for a message.
fn shortened(value: &Json) -> String {
    const SHOWN: usize = 60;
    let text = value.to_string();
    if text.chars().count() <= SHOWN { text } else { text.chars().take(SHOWN).chain(['…']).collect() }
}
