//! Avro: a datum of one schema, written from the borrowed record.

/// A schema, parsed, checked and compiled. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvroSchema {
    text: std::sync::Arc<str>,
}

impl AvroSchema {
    /// Reads a schema in JSON.
    ///
    /// # Errors
    /// What is wrong with it, and what to write instead.
    pub fn parse(text: &str) -> Result<AvroSchema, String> {
        Err(format!("avro is not supported yet ({} bytes of schema)", text.len()))
    }

    /// The schema as JSON, as it stands in the head of an object container file.
    pub fn text(&self) -> &str {
        &self.text
    }
}
